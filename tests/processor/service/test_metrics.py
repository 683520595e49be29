"""The service's metrics: what its lines say, of its parts and of a real micro-batch."""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.logs import JsonFormatter
from processor.matrix.matrix import MatrixState, Update
from processor.pipeline.durable import Durable
from processor.pipeline.feature_store import Settled
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from processor.pipeline.tasks import extract
from processor.service import metrics as module
from processor.service.metrics import Metrics
from tests.support import emf
from tests.support.drawn_photos import photo
from tests.support.traffic import until
from tests.support.world import World


class Lines(logging.Handler):
    """The documents among the lines of the log; CloudWatch accepts each."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.found: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = json.loads(self.format(record))
        if "_aws" in line:
            emf.check(line)
            self.found.append(line)

    def sum(self, name: str) -> float:
        return sum(line.get(name, 0) for line in self.found if "Reason" not in line)


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # logs.level, which metrics do not heed
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    return Metrics("q", tmp_path)


def round_of(version: int = 5, **changed: object) -> Durable:
    settled = Settled(2, 1, 3, 4, 5, 6, 0, new_rejects={"corrupt": 1, "empty": 2})
    given = {"settled": settled, "photos": 20, "pending": 6, "seconds": 4.0}
    given |= {"commit_seconds": 0.5, "upload_to_row": [1.0, 9.0], "features_version": version}
    return Durable(**given | changed)  # type: ignore[arg-type]


def state_of(version: int = 5) -> MatrixState:
    return MatrixState(version, 7, 700, datetime.now(UTC) - timedelta(seconds=100))


def test_a_micro_batch_is_one_document_and_one_for_each_reason(
    metrics: Metrics, lines: Lines
) -> None:
    metrics.worker_died()
    metrics.batch(round_of())
    total, *reasons = lines.found
    wanted = {"Photos": 2, "Handled": 20, "Rejects": 3, "Duplicates": 4, "Removed": 3, "Pending": 6}
    wanted |= {"PhotosPerSecond": 5.0, "UploadToRow": [1.0, 9.0], "CommitSeconds": 0.5}
    assert wanted.items() <= total.items()
    assert (total["WorkerDeaths"], total["message"], total["level"]) == (1, "metrics", "INFO")
    assert {each["Reason"]: each["Rejects"] for each in reasons} == {"corrupt": 1, "empty": 2}
    metrics.batch(round_of())
    assert lines.sum("WorkerDeaths") == 1


def test_the_minutes_document_says_what_is_true_now(metrics: Metrics, lines: Lines) -> None:
    metrics.batch(round_of())
    metrics.matrix(None, state_of())
    metrics.last_reconciled(datetime.now(UTC) - timedelta(hours=2))
    lines.found.clear()
    metrics.alive()
    metrics.minute()
    (line,) = lines.found
    wanted = {"Heartbeat": 1, "Pending": 6, "TableFiles": 7, "TableBytes": 700}
    zeros = dict.fromkeys(("Photos", "Handled", "Rejects", "WorkerDeaths", "MatrixBehind"), 0)
    assert (wanted | zeros).items() <= line.items()
    assert line["MatrixAge"] == pytest.approx(100, abs=5)
    assert line["ReconciliationAge"] == pytest.approx(7200, abs=5)
    assert 0 < line["MemoryUsed"] <= 110
    assert 0 < line["DiskUsed"] <= 100


def test_without_progress_the_heart_does_not_beat(metrics: Metrics, lines: Lines) -> None:
    metrics.minute()
    metrics.alive()
    metrics.minute()
    metrics.minute()
    assert [line.get("Heartbeat") for line in lines.found] == [None, 1, None]


def test_the_matrix_is_behind_until_it_has_the_change(
    metrics: Metrics, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = module.time.monotonic()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))

    def behind() -> float:
        metrics.minute()
        return float(lines.found[-1]["MatrixBehind"])

    now += 10
    assert behind() == pytest.approx(10, abs=1)  # since the start, because nothing is known yet
    metrics.matrix(None, state_of(4))
    assert behind() == 0
    metrics.batch(round_of(5))
    now += 20
    metrics.batch(round_of(6))
    now += 5
    assert behind() == 25
    metrics.matrix(Update(5, 1, None, 0, 0), state_of(5))
    assert behind() == 5
    metrics.matrix(Update(6, 1, None, 0, 0), state_of(6))
    assert behind() == 0


def test_a_refit_and_a_reconciliation_have_a_document_each(metrics: Metrics, lines: Lines) -> None:
    metrics.matrix(Update(5, 1, None, 1.0, 2.0), state_of())
    metrics.matrix(Update(5, 1, "on demand", 1.0, 2.0), state_of())
    metrics.matrix(Update(5, 1, "on demand", 1.0, 2.0, drift=0.03), state_of())
    metrics.reconciled(7)
    first, second, third = lines.found
    assert first["RefitSeconds"] == 3.0
    assert "Drift" not in first
    assert second["Drift"] == pytest.approx(3)
    assert third["ReconciliationFindings"] == 7


def test_nothing_that_goes_wrong_harms_the_service(
    metrics: Metrics, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path)
    metrics.minute()
    assert "DiskUsed" not in lines.found[-1]
    monkeypatch.setattr(module, "memory_used", lambda: 1 / 0)
    metrics.alive()
    metrics.minute()
    assert lines.found[-1]["Heartbeat"] == 1
    assert "MatrixBehind" not in lines.found[-1]
    count = len(lines.found)
    with monkeypatch.context() as patch:
        patch.setattr(module.metrics, "documents", lambda *_: 1 / 0)
        metrics.minute()
        metrics.batch(round_of())
    assert len(lines.found) == count
    metrics.batch(round_of())
    assert len(lines.found) > count


def test_the_first_progress_is_said_at_once(metrics: Metrics, lines: Lines) -> None:
    metrics.alive()
    metrics.start()
    until(lambda: len(lines.found) == 1)  # at once
    assert lines.found[0]["Heartbeat"] == 1
    metrics.stop()
    metrics._thread.join(10)
    assert not metrics._thread.is_alive()


def test_it_says_so_again_each_minute(
    metrics: Metrics, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MINUTE_SECONDS", 0.01)
    metrics.start()
    until(lambda: len(lines.found) > 2)
    metrics.stop()
    metrics._thread.join(10)
    assert not metrics._thread.is_alive()


def test_a_real_micro_batch_is_counted_once(world: World, metrics: Metrics, lines: Lines) -> None:
    store, _ = world.services[0]
    batches = MicroBatches(
        store,
        world.recipe.layout,
        lambda works: [extract(works, world.recipe)],
        durable=metrics.batch,
    )
    events = [
        world.put("photos/a/1.jpg", photo(1)),
        world.put("photos/a/2.jpg", photo(2)),
        world.put("photos/a/bad.jpg", b"no photo"),
    ]
    now = datetime.now(UTC)
    events = [replace(each, event_time=now - timedelta(seconds=30)) for each in events]
    retried = replace(events[1], event_name="ObjectCreated:Retry")
    batches.handle([events[0], retried, events[2]], 0)
    first = lines.found[0]
    assert (first["Photos"], first["Handled"], first["Rejects"]) == (2, 3, 1)
    assert [each["Reason"] for each in lines.found[1:]] == ["unsupported"]
    assert len(first["UploadToRow"]) == 1  # that of the retry is not known
    assert 30 <= first["UploadToRow"][0] < 300
    batches.handle(events, 1)
    assert (lines.sum("Photos"), lines.sum("Rejects"), lines.sum("Duplicates")) == (2, 1, 2)
    assert "UploadToRow" not in lines.found[-1]


def test_photos_that_wait_are_the_pending_ones(
    world: World, metrics: Metrics, lines: Lines
) -> None:
    store, _ = world.services[0]

    def wait(works: Sequence[Work]) -> list[Extracted]:
        outcomes = (Outcome(w.key, Kind.PENDING, "v", "forbidden", "") for w in works)
        return [Extracted(None, tuple(outcomes))]

    batches = MicroBatches(store, world.recipe.layout, wait, durable=metrics.batch)
    batches.handle([world.put(f"photos/{n}.jpg", b"x") for n in range(3)], 0)
    assert lines.found[-1]["Pending"] == 3
