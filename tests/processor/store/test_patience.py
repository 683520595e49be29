"""Patience: what is waited out and what is not, against the responses of a real client."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from processor.errors import Unavailable
from processor.store import delta, objects, patience
from processor.store.keyed import KeyedTable
from processor.store.patience import is_transient, patiently
from processor.store.schema import REJECTS
from tests.support.endpoints import NOBODY, aws_at
from tests.support.s3_answers import s3_answers

ENTRY = "rejects/_delta_log/00000000000000000000.json"


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Skip the pauses between tries, botocore's own too; those that were made."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def test_a_fault_that_passes_is_waited_out(
    bucket: str, no_pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"s3://{bucket}/a"
    with s3_answers(503, "SlowDown", "/a", times=7) as asked:  # botocore tries five times
        patiently(lambda: objects.put(uri, b"x"))
    assert len(asked) == 7
    assert objects.get(uri) == b"x"
    (line,) = [each for each in caplog.messages if each.startswith("AWS could not serve a request")]
    assert "SlowDown" in line


def test_a_fault_that_stays_is_raised_as_it_is(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise Unavailable("503")

    with pytest.raises(Unavailable, match="503"):
        patiently(fail)
    assert len(tries) > 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AccessDenied"), (403, "ExpiredToken"), (404, "NoSuchBucket"), (400, "InvalidRequest")],
)
def test_a_refusal_is_raised_at_once(bucket: str, status: int, code: str) -> None:
    tries: list[int] = []

    def ask(work: Callable[[], object]) -> None:
        tries.append(1)
        work()

    with s3_answers(status, code, "/a"), pytest.raises(ClientError, match=code):
        patiently(lambda: ask(lambda: objects.put(f"s3://{bucket}/a", b"x")))
    with s3_answers(status, code, ENTRY, method="PUT"), pytest.raises(ClientError, match=code):
        patiently(lambda: ask(lambda: delta.create_table(f"s3://{bucket}/rejects", REJECTS, "")))
    assert len(tries) == 2


def test_an_aws_that_cannot_be_reached_is_waited_for(bucket: str, no_pauses: list[float]) -> None:
    with aws_at(NOBODY), pytest.raises(BotoCoreError) as raised:
        objects.get(f"s3://{bucket}/a")
    assert is_transient(raised.value)
    with aws_at(NOBODY), pytest.raises(BotoCoreError, match="Connection refused") as reported:
        delta.open_table(f"s3://{bucket}/rejects")
    assert is_transient(reported.value)
    assert str(reported.value).isprintable()


def test_a_table_is_opened_although_s3_is_overloaded_at_first(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    with s3_answers(503, "SlowDown", ENTRY, method="PUT", times=13):  # delta-rs tries 11 times
        table = KeyedTable(f"s3://{bucket}/rejects", REJECTS, tmp_path / "index")
    assert table.table_version == 0
    table.close()
