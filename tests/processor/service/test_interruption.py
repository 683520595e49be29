"""The interruption of a spot instance, with a metadata service on loopback."""

import logging
import threading
from collections.abc import Iterator

import pytest

from processor.service import interruption
from tests.support.metadata import Metadata, served

NOTICE = {"action": "terminate", "time": "2026-11-27T10:00:00Z"}


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    monkeypatch.setattr(interruption, "POLL_SECONDS", 0.02)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    with served() as (metadata, address):
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{address}/")
        yield metadata


def watching() -> threading.Thread | None:
    return next((each for each in threading.enumerate() if each.name == "interruption"), None)


def ended() -> None:
    if thread := watching():
        thread.join(5)
        assert not thread.is_alive()


def wait_until(metadata: Metadata, requests: int) -> None:
    deadline = threading.Event()
    for _ in range(500):
        if len(metadata.requests) >= requests:
            return
        deadline.wait(0.01)
    raise AssertionError(metadata.requests)


def test_a_notice_stops_the_service_once(
    metadata: Metadata, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = threading.Semaphore(0)
    interruption.watch(stopped.release)
    wait_until(metadata, 4)
    assert not stopped.acquire(blocking=False)
    metadata.notice = NOTICE
    assert stopped.acquire(timeout=5)
    ended()
    assert not stopped.acquire(blocking=False)
    assert metadata.tokens == 1
    assert [each.getMessage() for each in caplog.records] == [
        "AWS interrupts this spot instance: terminate at 2026-11-27T10:00:00Z; stopping"
    ]


def test_an_expired_token_is_renewed_and_a_broken_answer_asked_again(metadata: Metadata) -> None:
    stopped = threading.Event()
    interruption.watch(stopped.set)
    wait_until(metadata, 3)
    metadata.expire()
    wait_until(metadata, len(metadata.requests) + 10)
    assert metadata.tokens == 2
    for metadata.broken in ("{", '"a text"', "null"):
        wait_until(metadata, len(metadata.requests) + 4)
    assert not stopped.is_set()
    metadata.broken, metadata.notice = "", NOTICE
    assert stopped.wait(5)
    ended()


def test_elsewhere_it_is_silent_and_ends(
    metadata: Metadata, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    metadata.elsewhere = True
    interruption.watch(lambda: pytest.fail("stopped"))
    ended()
    assert len(metadata.requests) == interruption.ATTEMPTS
    assert not [each for each in caplog.records if each.name == interruption.__name__]


def test_nobody_who_answers(monkeypatch: pytest.MonkeyPatch, metadata: Metadata) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
    interruption.watch(lambda: pytest.fail("stopped"))
    ended()
    assert not metadata.requests


def test_the_variables_of_aws(monkeypatch: pytest.MonkeyPatch, metadata: Metadata) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    assert interruption.endpoint() == "http://169.254.169.254"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6")
    assert interruption.endpoint() == "http://[fd00:ec2::254]"
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "True")
    assert interruption.endpoint() is None
    interruption.watch(lambda: pytest.fail("stopped"))
    assert watching() is None
