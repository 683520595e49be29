"""The thread of maintenance: which steps it takes when, and what becomes of those that fail."""

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from common.layout import BucketLayout, StoreLayout
from processor.errors import Unavailable
from processor.pipeline.retries import Retries
from processor.service import maintenance as module
from processor.service.maintenance import Maintenance
from processor.store import patience
from tests.support.in_process import InThisProcess
from tests.support.traffic import refusal, until
from tests.support.world import World


class Matrix:
    """Stands in for Matrix in tests of the thread; no test with it reaches a table."""

    def __init__(self) -> None:
        self.updates = 0
        self.updated = threading.Semaphore(0)
        self.during: Callable[[], object] = lambda: None
        self.exports = threading.Semaphore(0)
        self.exporting: Callable[[], object] = lambda: None
        self.state: object = None

    def update(self, *, force: bool = False) -> None:
        self.updates += 1
        self.updated.release()
        self.during()

    def export(self, *, wait: bool = False) -> None:
        self.exports.release()
        self.exporting()


def failing_once(error: Exception) -> Matrix:
    """The first update of it fails."""
    fake = Matrix()

    def fail() -> None:
        if fake.updates == 1:
            raise error

    fake.during = fail
    return fake


def thread_of(matrix: Matrix) -> Maintenance:
    nothing = SimpleNamespace(send_due=lambda: 0)
    return thread_with(matrix, nothing)


def thread_with(matrix: Matrix, retries: object) -> Maintenance:
    layout = StoreLayout("nowhere/")
    return Maintenance(
        layout, matrix, InThisProcess(), retries, interval_seconds=0, retention_hours=168
    )


def test_each_update_of_the_matrix_is_passed_on() -> None:
    seen: list[tuple[object, object]] = []
    matrix = Matrix()
    matrix.state = "as it is"
    layout, nothing = StoreLayout("nowhere/"), SimpleNamespace(send_due=lambda: 0)
    keeper = Maintenance(
        *(layout, matrix, InThisProcess(), nothing),
        interval_seconds=0,
        retention_hours=168,
        updated=lambda *update: seen.append(update),
    )
    keeper.refit()
    assert seen == [(None, "as it is")]
    keeper.wake()
    keeper.start()
    assert matrix.updated.acquire(timeout=10)
    assert matrix.updated.acquire(timeout=10)
    until(lambda: len(seen) == 2)
    keeper.stop()


def test_the_csv_is_written_beside_the_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow one delays none; what came meanwhile is written next, and a failure tried again."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    fake, going_on = Matrix(), threading.Event()
    fake.exporting = lambda: going_on.wait(10)
    keeper = thread_of(fake)
    keeper.start()
    keeper.wake()
    assert fake.exports.acquire(timeout=10)
    assert fake.updated.acquire(timeout=10)
    for _ in range(2):
        keeper.wake()
        assert fake.updated.acquire(timeout=10)
    assert not fake.exports.acquire(blocking=False)

    def fails_once() -> None:
        fake.exporting = lambda: None
        raise ValueError("a file that cannot be read")

    fake.exporting = fails_once
    going_on.set()
    for _ in range(2):  # the one that fails, and another try
        assert fake.exports.acquire(timeout=10)
    keeper.stop()
    keeper.join(10)
    assert not keeper._csv_thread.is_alive()


def test_a_refit_on_demand_waits_out_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    fake = failing_once(Unavailable("503"))
    thread_of(fake).refit()
    assert fake.updates == 2


def test_photos_that_wait_are_tried_again_although_sqs_is_overloaded_at_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    tries: list[list[str]] = []

    def send(bodies: list[str]) -> None:
        tries.append(bodies)
        if len(tries) == 1:
            raise refusal("RequestThrottled")

    retries = Retries(world.recipe.layout, send)
    store, layout = InThisProcess(), world.recipe.layout.store
    Maintenance(layout, Matrix(), store, retries, interval_seconds=0, retention_hours=168).retry()
    assert len(tries) == 2


def test_a_fault_that_passes_costs_a_step_a_moment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    fake = failing_once(refusal("SlowDown"))
    keeper = thread_of(fake)
    keeper.start()
    keeper.wake()
    assert fake.updated.acquire(timeout=30)
    assert fake.updated.acquire(timeout=30)
    keeper.stop()
    keeper.join(30)
    assert "Traceback" not in caplog.text


def test_a_stop_does_not_wait_for_the_end_of_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_WAIT_SECONDS", "LONGEST_WAIT_SECONDS"):
        monkeypatch.setattr(patience, name, 10_000.0)
    fake = failing_once(refusal("SlowDown"))
    keeper = thread_of(fake)
    keeper.start()
    keeper.wake()
    assert fake.updated.acquire(timeout=30)
    keeper.stop()
    keeper.join(30)
    assert not keeper._thread.is_alive()


def test_what_is_due_is_tried_again_as_it_starts() -> None:
    """A service that is often restarted would not come to it otherwise."""
    retried = threading.Semaphore(0)
    keeper = thread_with(Matrix(), SimpleNamespace(send_due=retried.release))
    keeper.start()
    assert retried.acquire(timeout=30)
    keeper.stop()
    keeper.join(30)
    assert not retried.acquire(blocking=False)


@pytest.mark.parametrize("code", ["NoSuchBucket", "InvalidAccessKeyId", "SlowDown"])
def test_an_error_that_no_retry_mends_is_reported(code: str) -> None:
    fake = Matrix()

    def fail() -> None:
        raise refusal(code)

    fake.during = fail
    keeper = thread_of(fake)
    keeper.check()
    keeper.start()
    keeper.wake()
    assert fake.updated.acquire(timeout=30)
    if code != "SlowDown":
        with pytest.raises(ClientError, match=code):
            until(keeper.check)
    keeper.stop()
    keeper.join(30)
    if code == "SlowDown":
        keeper.check()


def test_the_matrix_follows_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Matrix()
    keeper = thread_of(fake)
    keeper.start()
    for _ in range(3):
        keeper.wake()
        assert fake.updated.acquire(timeout=30)
    keeper.stop()
    keeper.join(30)
    assert fake.updates == 3  # and none for being stopped


def test_after_a_stop_a_failed_step_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """As when systemd has ended the JVM together with us."""
    fake, stopped = Matrix(), threading.Event()

    def fail() -> None:
        stopped.wait(30)
        raise RuntimeError("the JVM is gone")

    fake.during = fail
    keeper = thread_of(fake)
    keeper.start()
    keeper.wake()
    assert fake.updated.acquire(timeout=30)
    keeper.stop()
    stopped.set()
    keeper.join(30)
    assert fake.updates == 1
    assert caplog.records == []


def test_a_failed_step_is_logged_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    fake = Matrix()
    keeper = thread_of(fake)

    def fail_once() -> None:
        if fake.updates == 1:
            raise RuntimeError("a full disk")

    fake.during = fail_once
    keeper.start()
    for _ in range(2):
        keeper.wake()
        assert fake.updated.acquire(timeout=30)
    keeper.stop()
    keeper.join(30)
    (record,) = caplog.records
    assert "trying again" in record.message
    assert "a full disk" in caplog.text


def test_a_step_that_always_fails_does_not_keep_others_from_being_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The service may not send messages, say."""
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    fake, retries = Matrix(), Retries(BucketLayout("nowhere"), lambda _: None)

    def denied() -> int:
        raise refusal("AccessDenied")

    monkeypatch.setattr(retries, "send_due", denied)
    keeper = Maintenance(
        StoreLayout("nowhere/"),
        fake,
        InThisProcess(),
        retries,
        interval_seconds=0,
        retention_hours=168,
    )
    keeper.start()
    assert fake.updated.acquire(timeout=10)
    keeper.check()
    keeper.stop()
    keeper.join(30)


def test_stopped_before_it_started() -> None:
    keeper = thread_of(Matrix())
    keeper.stop()
    keeper.join(0)
