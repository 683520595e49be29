"""AWS: the region rule and clients."""

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
from botocore import exceptions as boto
from botocore.utils import parse_timestamp

from common import aws, aws_errors
from infra_scripts.clients import Clients
from tests.support.aws import DeployedStack
from tests.support.endpoints import Request, aws_at
from tests.support.forwarded import forwarding
from tests.support.signers import Profile, instance_role


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An environment that names no region, on a machine that is not an instance."""
    aws.forget()
    profiles = tmp_path / "config"
    profiles.write_text("[profile fruits]\nregion = eu-south-1\n")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profiles))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(aws, "_instance_region", lambda: None)
    yield monkeypatch
    aws.forget()


def test_the_region_is_the_first_that_is_set(nowhere: pytest.MonkeyPatch) -> None:
    assert aws.region() is None
    nowhere.setattr(aws, "_instance_region", lambda: "eu-west-3")
    assert aws.region() == "eu-west-3"
    nowhere.setenv("AWS_PROFILE", "fruits")
    assert aws.region() == "eu-south-1"
    nowhere.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    assert aws.region() == "eu-north-1"
    nowhere.setenv("AWS_REGION", "eu-west-2")
    assert aws.region() == "eu-west-2"


def test_a_client_takes_region_connections_and_retries(nowhere: pytest.MonkeyPatch) -> None:
    nowhere.setenv("AWS_REGION", "eu-west-2")
    made = aws.client("sqs", connections=3, read_seconds=25, attempts=2)
    assert made.meta.region_name == "eu-west-2"
    config = made.meta.config
    assert (config.max_pool_connections, config.read_timeout) == (3, 25)
    assert config.retries["total_max_attempts"] == 2
    made.close()


def test_a_client_needs_a_region_and_a_valid_endpoint(nowhere: pytest.MonkeyPatch) -> None:
    with pytest.raises(boto.NoRegionError):
        aws.client("sqs")
    nowhere.setenv("AWS_REGION", "eu-west-2")
    nowhere.setenv("AWS_ENDPOINT_URL", "nowhere")
    with pytest.raises(aws_errors.EndpointError, match="nowhere: correct AWS_ENDPOINT_URL"):
        aws.client("sqs")


def test_a_queue_that_does_not_exist_has_no_url(clients: Clients, stack: DeployedStack) -> None:
    assert aws.queue_url(clients.sqs, stack.stack.queue) == stack.queue_url
    assert aws.queue_url(clients.sqs, "nobodys") is None


@pytest.mark.parametrize(
    "written",
    [
        *("2026-11-27T16:15:56.123Z", "2026-11-27T16:15:56Z", "20261127T161556Z"),
        *("Fri, 27 Nov 2026 16:15:56 GMT", "1795796156", 1795796156.5),
        "2026-11-27T18:15:56+02:00",
    ],
)
def test_times_are_those_that_botocore_reads(written: str | float) -> None:
    found = aws._timestamp(written)
    assert found == parse_timestamp(written)
    assert found.utcoffset() is not None


def test_the_times_of_a_listing_are_not_read_by_botocore(stack: DeployedStack) -> None:
    stack.s3.put_object(Bucket=stack.bucket, Key="pear", Body=b"")
    (listed,) = aws.s3().list_objects_v2(Bucket=stack.bucket, Prefix="pear")["Contents"]
    assert listed["LastModified"].tzinfo is UTC  # botocore's parser has a class of its own


@pytest.mark.parametrize(
    ("bucket", "variables", "url"),
    [
        ("pears", {"AWS_REGION": "eu-west-2"}, "https://pears.s3.eu-west-2.amazonaws.com"),
        ("p.ears", {"AWS_REGION": "eu-west-2"}, "https://s3.eu-west-2.amazonaws.com/p.ears"),
        ("pears", {"AWS_REGION": "cn-north-1"}, "https://pears.s3.cn-north-1.amazonaws.com.cn"),
        (
            "pears",
            {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
            "https://pears.s3-fips.dualstack.us-east-1.amazonaws.com",
        ),
        ("pears", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9/s3"}, "http://127.0.0.1:9/s3/pears"),
    ],
)
def test_a_bucket_is_where_botocore_finds_it(
    nowhere: pytest.MonkeyPatch, bucket: str, variables: dict[str, str], url: str
) -> None:
    nowhere.setenv("AWS_REGION", "us-east-1")
    nowhere.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in variables.items():
        nowhere.setenv(name, value)
    aws.forget()
    assert aws.bucket_url(bucket) == url


def test_without_credentials_there_is_nothing_to_sign_with(
    nowhere: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere.setenv("AWS_ACCESS_KEY_ID", "key")
    nowhere.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert aws.credentials().access_key == "key"
    aws.forget()
    nowhere.delenv("AWS_ACCESS_KEY_ID")
    nowhere.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    nowhere.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(boto.NoCredentialsError):
        aws.credentials()


def test_the_ca_bundle_is_the_first_that_is_set(
    nowhere: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        nowhere.delenv(name, raising=False)
    assert aws.ca_bundle() is None
    nowhere.setenv("REQUESTS_CA_BUNDLE", "requests")
    assert aws.ca_bundle() == "requests"
    profile = Profile(nowhere, tmp_path)
    profile.config("ca_bundle = profile")
    aws.forget()
    assert aws.ca_bundle() == "profile"
    nowhere.setenv("AWS_CA_BUNDLE", "variable")
    aws.forget()
    assert aws.ca_bundle() == "variable"


def test_credentials_that_were_missed_are_found_the_next_time(
    nowhere: pytest.MonkeyPatch, stack: DeployedStack
) -> None:
    """As when an instance's metadata do not answer a worker's first request."""
    with instance_role(nowhere, "key") as metadata:
        aws.forget()
        nowhere.setenv("AWS_REGION", "eu-west-1")
        metadata.missing = 99
        for _ in range(2):
            with pytest.raises(boto.NoCredentialsError):
                aws.s3()
        metadata.missing = 0
        aws.s3().head_bucket(Bucket=stack.bucket)
        assert aws.credentials().access_key == "key"


def test_a_response_that_breaks_off_is_asked_for_again(stack: DeployedStack) -> None:
    """botocore takes half a response for a whole one, whose members are missing."""
    broken = {"PUT", "POST", "GET"}

    def breaks_off(request: Request) -> bool:
        listing = request.method == "GET" and "list-type" in request.target
        return (listing or request.method == "POST") and request.method in broken

    with forwarding(breaks_off=breaks_off) as (url, requests), aws_at(url):
        sqs, s3 = aws.client("sqs", attempts=2), aws.client("s3", attempts=2)
        for ask in (
            lambda: sqs.get_queue_url(QueueName=stack.stack.queue)["QueueUrl"],
            lambda: s3.list_objects_v2(Bucket=stack.bucket)["KeyCount"],
        ):
            with pytest.raises(boto.ClientError) as failure:
                ask()
            assert aws_errors.is_transient(failure.value)
            assert len(requests) == 2
            requests.clear()
        broken.clear()
        assert sqs.get_queue_url(QueueName=stack.stack.queue)["QueueUrl"]
        assert s3.list_objects_v2(Bucket=stack.bucket)["KeyCount"] == 0
        s3.put_object(Bucket=stack.bucket, Key="k", Body=b"whole")
        assert s3.head_object(Bucket=stack.bucket, Key="k")["ContentLength"] == 5
        assert s3.get_object(Bucket=stack.bucket, Key="k")["Body"].read() == b"whole"
        assert len(requests) == 5
        sqs.close()
        s3.close()
