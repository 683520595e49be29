"""The errors of delta-rs: the same as boto3's, in one line, and what may pass is known."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from common import aws_errors
from processor.errors import ServiceError, StoreError
from processor.store import datafiles, delta, objects
from tests.support import keyed_tables
from tests.support.endpoints import NOBODY, Request, aws_at
from tests.support.forwarded import Refusal, forwarding, s3_refuses
from tests.support.keyed_tables import SCHEMA
from tests.support.tables_in_s3 import one_line, opened

pytestmark = pytest.mark.usefixtures("hasty")

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
    "commit": lambda uri: opened(uri).commit(SCHEMA, [], []),
}


@pytest.mark.parametrize(("status", "code", "transient", "words"), ANSWERS)
@pytest.mark.parametrize(("step", "method"), [("open", "GET"), ("commit", "PUT")])
def test_a_response_of_s3_is_one_line_with_the_whole_cause(
    uri: str, step: str, method: str, status: int, code: str, transient: bool, words: str
) -> None:
    delta.create_table(uri, SCHEMA, "")

    def refuse(request: Request) -> Refusal | None:
        ours = request.method == method and "_delta_log" in request.target
        return (status, code) if ours and request.is_native else None

    with s3_refuses(refuse) as requests, pytest.raises(ClientError) as failure:
        STEPS[step](uri)
    line = one_line(failure.value)
    target = requests[-1].target
    assert all(word in line for word in (words, f"{method} http", target)), line
    assert "no & no" in line or status == 301  # of which delta-rs does not read the body
    assert aws_errors.is_transient(failure.value) == transient
    assert aws_errors.is_refusal(failure.value) == (words.startswith(("grant", "does not accept")))


def test_no_response_is_one_line_that_may_pass(uri: str) -> None:
    with aws_at(NOBODY), pytest.raises(BotoCoreError) as failure:
        delta.open_table(uri)
    line = one_line(failure.value)
    assert all(
        word in line for word in (f"GET {NOBODY}", "Connection refused", "AWS_ENDPOINT_URL")
    ), line
    assert aws_errors.is_transient(failure.value)


@pytest.mark.parametrize("what", ["list-type=2", f"{0:020}.json"])
def test_a_response_that_breaks_off_is_one_line_that_may_pass(uri: str, what: str) -> None:
    delta.create_table(uri, SCHEMA, "")
    broken = forwarding(breaks_off=lambda request: what in request.target)
    with broken as (url, _), aws_at(url), pytest.raises(BotoCoreError) as failure:
        delta.open_table(uri)
    assert "response body" in one_line(failure.value)
    assert aws_errors.is_transient(failure.value)


def test_a_row_that_cannot_be_read_is_one_line(uri: str, tmp_path: Path) -> None:
    table = delta.create_table(uri, SCHEMA, "")
    file = datafiles.write(uri, pa.table({"key": ["a"], "version": ["1"]}, schema=SCHEMA))
    table.commit(SCHEMA, [file], [])
    condition = pc.field("key") == "a"
    assert len(table.rows_where(condition, ["version"])) == 1
    objects.delete(f"{uri}/{file.path}")
    with pytest.raises(ClientError) as failure:
        table.rows_where(condition, ["version"])
    assert file.path in one_line(failure.value)


def test_what_no_retry_mends_is_an_error_of_the_store(uri: str) -> None:
    objects.put(f"{uri}/_delta_log/{0:020}.json", b"{rubbish")
    with pytest.raises(StoreError) as failure:
        delta.open_table(uri)
    line = str(failure.value)
    assert line.startswith(f"{uri}: ")
    assert line.isprintable()
    assert "Json error" in line
    assert "unknown" not in line  # of the backtrace


def test_a_table_that_is_deleted_in_use_is_named(uri: str) -> None:
    table = delta.create_table(uri, SCHEMA, "")
    file = datafiles.write(uri, pa.table({"key": ["a"], "version": ["1"]}, schema=SCHEMA))
    table.commit(SCHEMA, [file], [])
    for each in list(objects.listing(uri)):
        objects.delete(each.uri)
    with pytest.raises(ServiceError, match=r"was deleted or replaced.*start the service again"):
        table.commit(SCHEMA, [file], [])
    assert delta.create_table(uri, SCHEMA, "").rows == 0


# Other threads


def test_other_threads_run_while_s3_answers(uri: str, tmp_path: Path) -> None:
    """S3 is served by this very process: whoever waited for it with the GIL held would wait for ever."""
    table = keyed_tables.opened(uri, tmp_path / "index")
    table.commit([keyed_tables.write(uri, {"a": "1"})], [], {"batch": 7})
    with s3_refuses(lambda _: None):
        again = keyed_tables.opened(uri, tmp_path / "another")
        newest = opened(uri)
        assert next(newest.history(5))["batch"] == 7
        assert len(list(newest.history(5))) == 2
        newest.refresh()
        newest.vacuum(delta.KEPT_HOURS)  # of another retention it makes a commit, with the GIL held
        assert newest.transaction_version("app") is None
    assert again.find("a")["a"].object_version == "1"
