"""The reporter: a report after each refit; a failure is logged, and tried again later and later."""

import logging
import threading
from collections.abc import Callable

import pytest

from processor.errors import Unavailable
from processor.service import reporter as module
from processor.service.reporter import Reporter
from processor.store import patience
from tests.support.traffic import until


class Report:
    """Stands in for the report."""

    def __init__(self) -> None:
        self.updates = 0
        self.updated = threading.Semaphore(0)
        self.during: Callable[[], object] = lambda: None
        self.done = True

    def update(self, *, wait: bool = False) -> bool:
        self.updates += 1
        self.updated.release()
        self.during()
        return self.done


def failing() -> Report:
    fake = Report()

    def fail() -> None:
        raise ValueError("a page that cannot be made")

    fake.during = fail
    return fake


def test_it_is_written_at_the_start_and_after_each_refit() -> None:
    fake = Report()
    reporter = Reporter(fake)
    reporter.start()
    assert fake.updated.acquire(timeout=10)
    assert not fake.updated.acquire(timeout=0.1)
    reporter.refitted()
    assert fake.updated.acquire(timeout=10)
    reporter.stop()
    reporter._thread.join(10)
    assert not reporter._thread.is_alive()
    assert fake.updates == 2


def test_a_failure_is_logged_and_tried_again_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake = failing()
    reporter = Reporter(fake)
    reporter.start()
    until(lambda: "the report could not be written" in caplog.text)
    assert "a page that cannot be made" in caplog.text
    assert not fake.updates > 1
    reporter.refitted()
    until(lambda: fake.updates == 2)
    reporter.stop()
    reporter._thread.join(10)


@pytest.mark.parametrize("fails", [True, False], ids=["it fails", "another writes it"])
def test_it_is_tried_again_later_and_later(monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.08)
    fake = failing() if fails else Report()
    fake.done = False
    reporter = Reporter(fake)
    waits: list[float] = []
    wait = reporter._refitted.wait

    def noted(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 5:
            fake.done, fake.during = True, lambda: None
        return wait(seconds)

    monkeypatch.setattr(reporter._refitted, "wait", noted)
    reporter.start()
    until(lambda: len(waits) >= 6)
    reporter.stop()
    reporter._thread.join(10)
    assert waits[:6] == [0.01, 0.02, 0.04, 0.08, 0.08, 0.08]


def test_an_outage_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    fake = Report()

    def fail_once() -> None:
        fake.during = lambda: None
        raise Unavailable("503")

    fake.during = fail_once
    Reporter(fake).now()
    assert fake.updates == 2


def test_it_is_looked_at_without_a_refit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another service may have refitted, and be killed before it wrote the report."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    fake = Report()
    reporter = Reporter(fake)
    reporter.start()
    until(lambda: fake.updates > 3)
    reporter.stop()
    reporter._thread.join(10)


def test_on_demand_what_goes_wrong_is_raised_after_the_stop_too() -> None:
    """A service that drains its queue once has stopped its threads before it refits."""
    reporter = Reporter(failing())
    reporter.stop()
    with pytest.raises(ValueError, match="a page that cannot be made"):
        reporter.now()


def test_what_fails_in_the_thread_after_the_stop_follows_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake = Report()
    reporter = Reporter(fake)

    def fail() -> None:
        reporter.stop()
        raise ValueError("Spark has ended")

    fake.during = fail
    with caplog.at_level(logging.INFO):
        reporter.start()
        reporter._thread.join(10)
    assert not reporter._thread.is_alive()
    assert not caplog.records
