"""delta-rs and boto3: one place, one signer, one authority, and errors that mean the same."""

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import botocore
import pytest
from botocore.exceptions import BotoCoreError

from common import aws
from processor.errors import CommitConflict, StoreError
from processor.store import delta, delta_aws, objects
from tests.support import keyed_tables
from tests.support.certificates import certificates
from tests.support.endpoints import NOBODY, Request, Silent, aws_at, serving
from tests.support.forwarded import Refusal, forwarding, s3_refuses
from tests.support.keyed_tables import SCHEMA
from tests.support.signers import Profile, instance_role
from tests.support.tables_in_s3 import one_line, opened

pytestmark = pytest.mark.usefixtures("hasty")


def use(uri: str, folder: Path) -> None:
    """All that the store does with a table."""
    table = keyed_tables.opened(uri, folder / "index")
    table.commit([keyed_tables.write(uri, {"a": "1", "b": "1"})], [], {})
    table.commit([keyed_tables.write(uri, {"a": "2"})], ["a"], {})
    keyed_tables.opened(uri, folder / "another")
    assert keyed_tables.content(uri) == {"a": "2", "b": "1"}
    newest = delta.open_table(uri)
    assert newest
    newest.vacuum(delta.KEPT_HOURS)


# Who signs


@pytest.fixture(params=["variables", "profile", "role", "process", "instance"])
def signer(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uri: str
) -> Iterator[str | None]:
    """The access key of each source of credentials; None where another AWS service chooses it."""
    if request.param == "variables":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "of key")
        yield "key"
    elif request.param == "instance":
        with instance_role(monkeypatch, "key"):
            yield "key"
    else:
        profile = Profile(monkeypatch, tmp_path)
        if request.param == "profile":
            profile.credentials("key")
        elif request.param == "process":
            profile.process("key")
        else:
            profile.credentials("another", "source")
            profile.config("role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = source")
        yield None if request.param == "role" else "key"


def test_both_libraries_sign_as_one(uri: str, signer: str | None, tmp_path: Path) -> None:
    with s3_refuses(lambda _: None) as requests:
        use(uri, tmp_path)
    to_s3 = [each for each in requests if "/s3/" in str(each.headers["Authorization"])]
    assert {each.is_native for each in to_s3} == {True, False}
    (key,) = {each.access_key for each in to_s3}
    assert key == signer if signer else key.startswith("ASIA")
    (token,) = {each.headers["X-Amz-Security-Token"] for each in to_s3}
    assert token in (None, "of key") if signer else token


def test_a_table_outlives_the_credentials_that_it_was_opened_with(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    valid = ["first"]

    def expired(request: Request) -> Refusal | None:
        if request.access_key == valid[0]:
            return None
        assert request.access_key == "first"
        return 400, "ExpiredToken"

    profile = Profile(monkeypatch, tmp_path)
    profile.process("first")
    with s3_refuses(expired) as requests:
        table = keyed_tables.opened(uri, tmp_path / "index")
        plain, another = opened(uri), opened(uri)
        valid[0] = "second"
        profile.process("second")
        del requests[:]
        table.commit([keyed_tables.write(uri, {"a": "1"})], [], {})
        with pytest.raises(CommitConflict):  # it is still at the version that it was opened at
            plain.commit(SCHEMA, [], [])
        another.refresh()
        assert another.table_version == 1
        valid[0] = "third"
        profile.process("third")
        assert plain.transaction_version("app") is None
        assert another.vacuum(delta.KEPT_HOURS) == 0
        assert keyed_tables.content(uri) == {"a": "1"}
    assert {each.access_key for each in requests if each.is_native} == {"second", "third"}


def test_another_table_in_its_place_is_a_conflict(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = Profile(monkeypatch, tmp_path)
    profile.process("first")
    aws.forget()
    table = delta.create_table(uri, SCHEMA, "")
    objects.delete(table.log_entry(0))
    delta.create_table(uri, SCHEMA, "")
    profile.process("second")
    with pytest.raises(CommitConflict, match="another table"):
        table.commit(SCHEMA, [], [])


@pytest.mark.parametrize("name", ["TOKEN", "aws_session_token"])
def test_a_variable_that_would_change_the_signature_is_named(
    uri: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "of somebody else")
    with pytest.raises(StoreError, match=f"unset the variable {name}"):
        delta.open_table(uri)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "ours")
    aws.forget()
    with s3_refuses(lambda _: None) as requests:
        delta.open_table(uri)
    assert {each.headers["X-Amz-Security-Token"] for each in requests} == {"ours"}


def test_a_local_folder_needs_no_options(folder: str) -> None:
    assert delta_aws.storage_options(folder) is None


# Where S3 is


@pytest.mark.parametrize(
    ("lines", "others"),
    [
        ("endpoint_url = {url}", ""),
        ("services = ours", "[services ours]\ns3 =\n  endpoint_url = {url}\n"),
    ],
    ids=["profile", "services"],
)
def test_a_profile_names_the_endpoint(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: str, others: str
) -> None:
    profile = Profile(monkeypatch, tmp_path)
    profile.credentials("key")
    with forwarding() as (url, requests):
        profile.config(lines.format(url=url), others.format(url=url))
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        aws.forget()
        use(uri, tmp_path)
        assert {each.is_native for each in requests} == {True, False}
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", NOBODY)
        aws.forget()
        options = delta.storage_options(uri)
    assert options
    assert options["aws_endpoint"].endswith(".s3.eu-west-1.amazonaws.com")


def test_the_endpoint_of_s3_precedes_the_common_one(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with forwarding() as (url, requests), aws_at(NOBODY):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        aws.forget()
        use(uri, tmp_path)
    assert {each.is_native for each in requests} == {True, False}


def test_requests_are_for_the_region_of_boto3(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    with s3_refuses(lambda _: None) as requests:
        use(uri, tmp_path)
    assert {str(each.headers["Authorization"]).split("/")[2] for each in requests} == {"eu-west-3"}


@pytest.mark.parametrize(
    ("bucket", "variables"),
    [
        ("pears", {}),
        ("p.ears", {}),
        ("pears", {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"}),
        ("pears", {"AWS_ENDPOINT_URL_S3": "https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com"}),
    ],
    ids=["virtual", "dots", "fips", "vpc"],
)
@pytest.mark.usefixtures("aws")
def test_both_libraries_ask_one_host(
    bucket: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen by a proxy, which is asked for a tunnel to it and refuses."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    hosts: list[str] = []

    with tunnels_asked_for(hosts) as url:
        monkeypatch.setenv("https_proxy", url)
        aws.forget()
        with pytest.raises(BotoCoreError):
            aws.client("s3", attempts=1).head_bucket(Bucket=bucket)
        (host,) = hosts
        with pytest.raises(BotoCoreError):
            delta.open_table(f"s3://{bucket}/features")
    assert hosts == [host, host]
    aws.forget()


@contextlib.contextmanager
def tunnels_asked_for(hosts: list[str]) -> Iterator[str]:
    class Tunnels(Silent):
        def do_CONNECT(self) -> None:
            hosts.append(self.path)
            self.send(403, {}, b"")

    with serving(Tunnels) as url:
        yield url


@pytest.mark.parametrize("source", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "profile"])
def test_the_configured_authority_is_trusted(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    authority, server = certificates(tmp_path)
    bundle = tmp_path / "bundle.pem"
    public = Path(botocore.__file__).with_name("cacert.pem")
    bundle.write_bytes(public.read_bytes() + authority.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    # Or botocore would send chunks over TLS, which the server does not read.
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    with forwarding(tls=context) as (url, requests), aws_at(url):
        with pytest.raises(BotoCoreError) as failure:
            delta.open_table(uri)
        assert "UnknownIssuer" in one_line(failure.value)
        assert not requests
        if source == "profile":
            profile = Profile(monkeypatch, tmp_path)
            profile.credentials("key")
            profile.config(f"ca_bundle = {bundle}")
        else:
            monkeypatch.setenv(source, str(bundle))
        aws.forget()
        use(uri, tmp_path)
        assert {each.is_native for each in requests} == {True, False}
