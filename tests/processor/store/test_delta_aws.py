"""delta-rs and boto3: one place, one signer, one authority, and errors that mean the same."""

import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from common import aws, aws_errors
from processor.errors import CommitConflict, ServiceError, StoreError
from processor.store import datafiles, delta, delta_aws, objects
from tests.support import keyed_tables
from tests.support.certificates import certificates
from tests.support.endpoints import NOBODY, Request, Silent, aws_at, serving
from tests.support.forwarded import Refusal, forwarding, s3_refuses
from tests.support.keyed_tables import SCHEMA
from tests.support.signers import Profile, instance_role


@pytest.fixture
def place(bucket: str) -> str:
    return f"s3://{bucket}/features"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """delta-rs gives up at once; by default it tries for three minutes."""
    real = delta_aws.storage_options

    def options(folder: str) -> dict[str, str] | None:
        found = real(folder)
        return found and found | {"max_retries": "0", "timeout": "5s"}

    monkeypatch.setattr(delta, "storage_options", options)


def use(place: str, folder: Path) -> None:
    """All that the store does with a table."""
    table = keyed_tables.opened(place, folder / "index")
    table.commit([keyed_tables.write(place, {"a": "1", "b": "1"})], [], {})
    table.commit([keyed_tables.write(place, {"a": "2"})], ["a"], {})
    keyed_tables.opened(place, folder / "another")
    assert keyed_tables.content(place) == {"a": "2", "b": "1"}
    newest = delta.open_table(place)
    assert newest
    newest.vacuum(0)


# Who signs


@pytest.fixture(params=["variables", "profile", "role", "process", "instance"])
def signer(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
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


def test_both_libraries_sign_as_one(place: str, signer: str | None, tmp_path: Path) -> None:
    with s3_refuses(lambda _: None) as requests:
        use(place, tmp_path)
    to_s3 = [each for each in requests if "/s3/" in str(each.headers["Authorization"])]
    assert {each.is_native for each in to_s3} == {True, False}
    (key,) = {each.access_key for each in to_s3}
    assert key == signer if signer else key.startswith("ASIA")
    (token,) = {each.headers["X-Amz-Security-Token"] for each in to_s3}
    assert token in (None, "of key") if signer else token


def test_a_table_outlives_the_credentials_that_it_was_opened_with(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
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
        table = keyed_tables.opened(place, tmp_path / "index")
        plain, another = opened(place), opened(place)
        valid[0] = "second"
        profile.process("second")
        del requests[:]
        table.commit([keyed_tables.write(place, {"a": "1"})], [], {})
        with pytest.raises(CommitConflict):  # it is still at the version that it was opened at
            plain.commit(SCHEMA, [], [])
        another.refresh()
        assert another.table_version == 1
        valid[0] = "third"
        profile.process("third")
        assert plain.transaction_version("app") is None
        assert another.vacuum(0) == 0
        assert keyed_tables.content(place) == {"a": "1"}
    assert {each.access_key for each in requests if each.is_native} == {"second", "third"}


def test_another_table_in_its_place_is_a_conflict(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = Profile(monkeypatch, tmp_path)
    profile.process("first")
    aws.forget()
    table = delta.create_table(place, SCHEMA, "")
    objects.delete(table.log_entry(0))
    delta.create_table(place, SCHEMA, "")
    profile.process("second")
    with pytest.raises(CommitConflict, match="another table"):
        table.commit(SCHEMA, [], [])


@pytest.mark.parametrize("name", ["TOKEN", "aws_session_token"])
def test_a_variable_that_would_change_the_signature_is_named(
    place: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "of somebody else")
    with pytest.raises(StoreError, match=f"unset the variable {name}"):
        delta.open_table(place)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "ours")
    aws.forget()
    with s3_refuses(lambda _: None) as requests:
        delta.open_table(place)
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
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: str, others: str
) -> None:
    profile = Profile(monkeypatch, tmp_path)
    profile.credentials("key")
    with forwarding() as (url, requests):
        profile.config(lines.format(url=url), others.format(url=url))
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        aws.forget()
        use(place, tmp_path)
        assert {each.is_native for each in requests} == {True, False}
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", NOBODY)
        aws.forget()
        options = delta.storage_options(place)
    assert options
    assert options["aws_endpoint"].endswith(".s3.eu-west-1.amazonaws.com")


def test_the_endpoint_of_s3_precedes_the_common_one(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with forwarding() as (url, requests), aws_at(NOBODY):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        aws.forget()
        use(place, tmp_path)
    assert {each.is_native for each in requests} == {True, False}


def test_requests_are_for_the_region_of_boto3(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    with s3_refuses(lambda _: None) as requests:
        use(place, tmp_path)
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
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
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
            delta.open_table(place)
        assert "UnknownIssuer" in one_line(failure.value)
        assert not requests
        if source == "profile":
            profile = Profile(monkeypatch, tmp_path)
            profile.credentials("key")
            profile.config(f"ca_bundle = {bundle}")
        else:
            monkeypatch.setenv(source, str(bundle))
        aws.forget()
        use(place, tmp_path)
        assert {each.is_native for each in requests} == {True, False}


# Errors


def one_line(error: BaseException) -> str:
    """As a command shows it."""
    assert isinstance(error, Exception)
    line = aws_errors.explain(error)
    assert line.isprintable()
    return line


ANSWERS = [
    (403, "AccessDenied", False, "grant s3:"),
    (403, "InvalidAccessKeyId", False, "does not accept the credentials"),
    (400, "ExpiredToken", False, "does not accept the credentials"),
    (403, "RequestTimeTooSkewed", False, "set its clock"),
    (404, "NoSuchBucket", False, "correct storage.bucket"),
    (301, "PermanentRedirect", False, "correct AWS_REGION"),
    (400, "AuthorizationHeaderMalformed", False, "correct AWS_REGION"),
    (400, "KMS.DisabledException", False, "KMS.DisabledException"),
    (500, "InternalError", True, "InternalError"),
    (503, "SlowDown", True, "SlowDown"),
    (429, "TooManyRequests", True, "TooManyRequests"),
]
STEPS: dict[str, Callable[[str], object]] = {
    "open": delta.open_table,
    "commit": lambda place: opened(place).commit(SCHEMA, [], []),
}


def opened(place: str) -> delta.Table:
    table = delta.open_table(place)
    assert table
    return table


@pytest.mark.parametrize(("status", "code", "transient", "words"), ANSWERS)
@pytest.mark.parametrize(("step", "method"), [("open", "GET"), ("commit", "PUT")])
def test_a_response_of_s3_is_one_line_with_the_whole_cause(
    place: str, step: str, method: str, status: int, code: str, transient: bool, words: str
) -> None:
    delta.create_table(place, SCHEMA, "")

    def refuse(request: Request) -> Refusal | None:
        ours = request.method == method and "_delta_log" in request.target
        return (status, code) if ours and request.is_native else None

    with s3_refuses(refuse) as requests, pytest.raises(ClientError) as failure:
        STEPS[step](place)
    line = one_line(failure.value)
    target = requests[-1].target
    assert all(word in line for word in (words, f"{method} http", target)), line
    assert "no & no" in line or status == 301  # of which delta-rs does not read the body
    assert aws_errors.is_transient(failure.value) == transient
    assert aws_errors.is_refusal(failure.value) == (words.startswith(("grant", "does not accept")))


def test_no_response_is_one_line_that_may_pass(place: str) -> None:
    with aws_at(NOBODY), pytest.raises(BotoCoreError) as failure:
        delta.open_table(place)
    line = one_line(failure.value)
    assert all(
        word in line for word in (f"GET {NOBODY}", "Connection refused", "AWS_ENDPOINT_URL")
    ), line
    assert aws_errors.is_transient(failure.value)


@pytest.mark.parametrize("what", ["list-type=2", f"{0:020}.json"])
def test_a_response_that_breaks_off_is_one_line_that_may_pass(place: str, what: str) -> None:
    delta.create_table(place, SCHEMA, "")
    broken = forwarding(breaks_off=lambda request: what in request.target)
    with broken as (url, _), aws_at(url), pytest.raises(BotoCoreError) as failure:
        delta.open_table(place)
    assert "response body" in one_line(failure.value)
    assert aws_errors.is_transient(failure.value)


def test_a_row_that_cannot_be_read_is_one_line(place: str, tmp_path: Path) -> None:
    table = delta.create_table(place, SCHEMA, "")
    file = datafiles.write(place, pa.table({"key": ["a"], "version": ["1"]}, schema=SCHEMA))
    table.commit(SCHEMA, [file], [])
    condition = pc.field("key") == "a"
    assert len(table.rows_where(condition, ["version"])) == 1
    objects.delete(f"{place}/{file.path}")
    with pytest.raises(ClientError) as failure:
        table.rows_where(condition, ["version"])
    assert file.path in one_line(failure.value)


def test_what_no_retry_mends_is_an_error_of_the_store(place: str) -> None:
    objects.put(f"{place}/_delta_log/{0:020}.json", b"{rubbish")
    with pytest.raises(StoreError) as failure:
        delta.open_table(place)
    line = str(failure.value)
    assert line.startswith(f"{place}: ")
    assert line.isprintable()
    assert "Json error" in line
    assert "unknown" not in line  # of the backtrace


def test_a_table_that_is_deleted_in_use_is_named(place: str) -> None:
    table = delta.create_table(place, SCHEMA, "")
    file = datafiles.write(place, pa.table({"key": ["a"], "version": ["1"]}, schema=SCHEMA))
    table.commit(SCHEMA, [file], [])
    for each in list(objects.listing(place)):
        objects.delete(each.uri)
    with pytest.raises(ServiceError, match=r"was deleted or replaced.*start the service again"):
        table.commit(SCHEMA, [file], [])
    assert delta.create_table(place, SCHEMA, "").rows == 0


# Other threads


def test_other_threads_run_while_s3_answers(place: str, tmp_path: Path) -> None:
    """S3 is served by this very process: whoever waited for it with the GIL held would wait for ever."""
    table = keyed_tables.opened(place, tmp_path / "index")
    table.commit([keyed_tables.write(place, {"a": "1"})], [], {"batch": 7})
    with s3_refuses(lambda _: None):
        again = keyed_tables.opened(place, tmp_path / "another")
        newest = opened(place)
        assert next(newest.history(5))["batch"] == 7
        assert len(list(newest.history(5))) == 2
        newest.refresh()
        newest.vacuum(0)
        assert newest.transaction_version("app") is None
    assert again.find("a")["a"].object_version == "1"
