"""The micro-batch's line: one for each, with both parts; Spark's part may be late, or missing."""

import json
import logging
import time
from collections.abc import Iterator

import pytest

from processor.pipeline.handled import Handled
from processor.service import batch_lines
from processor.service.batch_lines import BatchLines
from tests.support.traffic import until

PROGRESS = {
    "id": "i",
    "runId": "r",
    "name": "photos",
    "batchId": 7,
    "timestamp": "2026-11-27T05:01:32.331Z",
    "numInputRows": 3,
    "inputRowsPerSecond": 1.5,
    "processedRowsPerSecond": 2.5,
    "durationMs": {"addBatch": 15, "triggerExecution": 20},
    "stateOperators": [],
    "sources": [{"endOffset": {"messages": 3}}],
    "sink": {"description": "ForeachBatchSink"},
}


class Made:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.depth: object = 5
        self.lines = BatchLines(self._backlog)

    def _backlog(self) -> int:
        if isinstance(self.depth, Exception):
            raise self.depth
        assert isinstance(self.depth, int)
        return self.depth

    def written(self) -> list[dict]:
        return [vars(each) for each in self._caplog.records if each.levelno >= logging.INFO]

    def texts(self) -> list[str]:
        return [each["message"] for each in self.written()]


@pytest.fixture
def made(caplog: pytest.LogCaptureFixture) -> Iterator[Made]:
    caplog.set_level(logging.DEBUG, batch_lines.__name__)
    one = Made(caplog)
    yield one
    one.lines.close()


def test_a_line_has_both_parts_and_the_backlog(made: Made) -> None:
    made.lines.durable(7, Handled(3, stored=2, rejected=1))
    assert made.written() == []
    made.lines.progressed(json.dumps({**PROGRESS, "numInputRows": 0}))  # of no micro-batch
    made.lines.progressed(json.dumps({**PROGRESS, "batchId": 6}))
    time.sleep(0.1)
    assert made.written() == []
    made.lines.progressed(json.dumps(PROGRESS))
    until(made.written)
    (line,) = made.written()
    assert line["message"] == "micro-batch durable"
    for name in set(PROGRESS) - {"name", "stateOperators"}:
        assert line[name] == PROGRESS[name]
    assert "stateOperators" not in line
    assert (line["stored"], line["rejected"], line["backlog"]) == (2, 1, 5)
    made.lines.progressed(json.dumps(PROGRESS))
    made.lines.close()
    assert len(made.written()) == 1


def test_it_does_not_wait_long_for_spark(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_lines, "PATIENCE_SECONDS", 0.1)
    made.lines.durable(7, Handled(3, stored=2))
    until(made.written)
    (line,) = made.written()
    assert line["stored"] == 2
    assert "durationMs" not in line


def test_nor_longer_than_until_the_next_is_durable(made: Made) -> None:
    made.lines.durable(7, Handled(3))
    made.lines.durable(8, Handled(4))
    until(made.written)
    assert [line["photos"] for line in made.written()] == [3]


def test_the_end_loses_no_line(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_lines, "CLOSE_SECONDS", 0.9)
    made.lines.durable(7, Handled(3))
    began = time.monotonic()
    made.lines.close()
    assert time.monotonic() - began < 10
    assert made.texts() == ["micro-batch durable"]
    made.lines.close()
    made.lines.durable(8, Handled(3))  # after the end: nothing to wait for


def test_a_queue_that_does_not_tell_its_depth_costs_no_line(made: Made) -> None:
    made.depth = KeyError("no queue")
    made.lines.durable(7, Handled(3))
    made.lines.progressed(json.dumps(PROGRESS))
    until(made.written)
    assert made.written()[0]["backlog"] is None


def test_an_idle_query_says_so_now_and_then(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(100):
        made.lines.idle()
    time.sleep(0.1)
    assert made.written() == []
    monkeypatch.setattr(batch_lines, "IDLE_SECONDS", 0.3)
    for _ in range(10):
        made.lines.idle()
        time.sleep(0.05)
    until(made.written)
    assert len(made.written()) == 1
    assert made.texts()[0].startswith("idle: no events for")
    assert made.written()[0]["backlog"] == 5
