"""The reconciler: it reconciles when that is due, leaves recent photos to their events, never fails."""

import logging
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from processor.pipeline.comparison import Scope
from processor.pipeline.reconciliation import Pass
from processor.service import reconciler as module
from processor.service.reconciler import Reconciler, report
from tests.support.traffic import refusal, until


class Reconciliation:
    """Stands in for Reconciliation in tests of the thread."""

    def __init__(self) -> None:
        self.ran = threading.Semaphore(0)
        self.scopes: list[Scope] = []
        self.due = True
        self.stopped = False
        self.fault: Exception | None = None
        self.ended: datetime | None = None
        self.differences: dict[str, int] = {}

    def is_due(self, interval: timedelta) -> bool:
        if self.fault:
            self.ran.release()
            raise self.fault
        return self.due

    def run(self, scope: Scope, *, resume_for: timedelta) -> Pass:
        self.scopes.append(scope)
        self.due = False
        self.ran.release()
        done = Pass(began=datetime.now(UTC), at=datetime.now(UTC), differences=self.differences)
        self.ended = done.at
        return done

    def stop(self) -> None:
        self.stopped = True


def started(reconciliation: Reconciliation, interval_seconds: int = 86_400) -> Reconciler:
    made = Reconciler(reconciliation, "photos/", interval_seconds)  # type: ignore[arg-type]
    made.start()
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)


def test_what_it_found_and_when_the_last_one_ended_is_passed_on() -> None:
    reconciliation = Reconciliation()
    reconciliation.differences = {"missing": 3}
    found: list[int] = []
    ended: list[datetime | None] = []
    running = Reconciler(reconciliation, "photos/", 86_400, found.append, ended.append)  # type: ignore[arg-type]
    running.start()
    until(lambda: len(ended) > 2)
    running.stop()
    assert found == [3]
    assert ended[0] == reconciliation.ended is not None


def test_it_reconciles_whenever_that_is_due() -> None:
    reconciliation = Reconciliation()
    running = started(reconciliation)
    assert reconciliation.ran.acquire(timeout=10)
    assert not reconciliation.ran.acquire(timeout=0.1)
    reconciliation.due = True
    assert reconciliation.ran.acquire(timeout=10)
    running.stop()
    assert reconciliation.stopped


def test_photos_of_the_last_hour_are_left_to_their_events() -> None:
    reconciliation = Reconciliation()
    running = started(reconciliation)
    assert reconciliation.ran.acquire(timeout=10)
    running.stop()
    (scope,) = reconciliation.scopes
    assert scope.before
    age = datetime.now(UTC) - scope.before
    assert timedelta(minutes=59) < age < timedelta(minutes=61)
    assert (scope.prefix, scope.pending, scope.rejects) == ("photos/", False, frozenset())


def test_without_an_interval_it_never_does() -> None:
    reconciliation = Reconciliation()
    running = started(reconciliation, 0)
    assert not reconciliation.ran.acquire(timeout=0.1)
    running.stop()


@pytest.mark.parametrize("fault", [refusal("AccessDenied"), OSError("disk full"), ValueError("?")])
def test_a_failure_is_one_line_and_another_try(
    fault: ClientError | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    reconciliation = Reconciliation()
    reconciliation.fault = fault
    running = started(reconciliation)
    assert reconciliation.ran.acquire(timeout=10)
    assert reconciliation.ran.acquire(timeout=10)
    reconciliation.fault = None
    while not reconciliation.scopes:
        time.sleep(0.01)
    running.stop()
    assert "could not be compared" in caplog.text
    assert "Traceback" not in caplog.text


def test_differences_are_a_warning_because_events_were_missed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    done = Pass(began=datetime.now(UTC), at=datetime.now(UTC))
    report(done)
    done.differences["missing"] = 2
    report(done)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert caplog.records[-1].__dict__["missing"] == 2
