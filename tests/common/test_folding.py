"""Folding: a storm becomes a line a minute; the first, and what names a photo, comes at once."""

import logging
import time
from collections.abc import Iterator

import pytest

from common import folding
from common.folding import UNFOLDED, Folding
from common.log_context import bound
from tests.support.traffic import until


class Seen(logging.Handler):
    def __init__(self, fold: Folding) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(fold)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [each.getMessage() for each in self.records]


class Two:
    """Two handlers with the same filter, as stdout and CloudWatch have it."""

    def __init__(self) -> None:
        self.fold = Folding()
        self.first, self.second = Seen(self.fold), Seen(self.fold)
        self.log = logging.getLogger("ours.part")

    def lines(self) -> list[str]:
        assert self.first.records == self.second.records
        return self.first.texts


@pytest.fixture
def two() -> Iterator[Two]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    both = Two()
    root.handlers[:] = [both.first, both.second]
    root.setLevel("INFO")
    yield both
    both.fold.flush()  # or its lines come a minute later, in another test
    root.handlers[:] = handlers
    root.setLevel(level)


def test_repeats_are_counted_and_come_with_the_last_text(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "WINDOW_SECONDS", 0.3)
    for number in range(413):
        with bound(batch=number):
            two.log.warning("trying again, the %d. time", number, extra={"more": number})
    assert two.lines() == ["trying again, the 0. time"]
    until(lambda: len(two.first.records) == 2)
    assert two.lines()[1] == "trying again, the 412. time"
    summary = two.first.records[1]
    assert (summary.levelname, summary.name) == ("WARNING", "ours.part")
    told = vars(summary)
    assert (told["repeats"], told["more"], told["batch"]) == (412, 412, 412)
    two.log.warning("trying again, the %d. time", 500)  # in the next window
    assert len(two.lines()) == 2
    until(lambda: len(two.first.records) == 3)
    assert two.lines()[2] == "trying again, the 500. time"
    assert vars(two.first.records[2])["repeats"] == 1
    time.sleep(1)  # a window without any
    two.log.warning("trying again, the %d. time", 600)
    assert two.lines()[3] == "trying again, the 600. time"


def test_a_flush_logs_what_is_counted(two: Two) -> None:
    for _ in range(3):
        two.log.error("bad")
    two.fold.flush()
    assert two.lines() == ["bad", "bad"]
    assert vars(two.first.records[1])["repeats"] == 2
    two.fold.flush()
    assert len(two.lines()) == 2


def test_what_another_process_has_folded_counts_as_often(two: Two) -> None:
    for repeats in (1, 411, 1):
        two.log.warning("bad", extra={"repeats": repeats, "seconds": 60.0} if repeats > 1 else {})
    two.fold.flush()
    assert [vars(each).get("repeats") for each in two.first.records] == [None, 412]


def test_a_long_word_costs_no_time(two: Two) -> None:
    began = time.process_time()
    two.log.warning("bad: %s", 100_000 * "a")
    assert time.process_time() - began < 1


def test_what_names_a_photo_or_a_message_or_measures_is_never_folded(two: Two) -> None:
    for number in range(5):
        with bound(key=f"photos/{number}.jpg"):
            two.log.warning("photo rejected")
        two.log.warning("photo waits", extra={"key": f"photos/{number}.jpg"})
        with bound(message_id=str(number)):
            two.log.error("malformed message")
        two.log.warning("metrics", extra={"_aws": {}})
        two.log.warning("%d lost", number, extra=UNFOLDED)
        two.log.info("micro-batch durable")
    two.fold.flush()
    assert sorted(two.lines()) == sorted(
        5 * ["photo rejected", "photo waits", "malformed message", "metrics", "micro-batch durable"]
        + [f"{number} lost" for number in range(5)]
    )
    rejected = [vars(each) for each in two.first.records]
    assert {each["key"] for each in rejected if "key" in each} == {
        f"photos/{n}.jpg" for n in range(5)
    }


def test_only_the_same_is_folded(two: Two) -> None:
    def fail(number: int) -> None:
        if number % 2:
            raise KeyError(number)
        raise ValueError(number)

    for number in range(4):
        try:
            fail(number)
        except (KeyError, ValueError):
            two.log.exception("it failed")
    two.log.warning("it failed")
    logging.getLogger("another").error("it failed")
    assert two.lines() == 4 * ["it failed"]
    two.fold.flush()
    (first, second) = [each for each in two.first.records if "repeats" in vars(each)]
    assert first.exc_info
    assert second.exc_info


def test_another_cause_is_another_line(two: Two) -> None:
    for number in range(100):
        two.log.warning("again in %.1f s: %s", number / 7, f"slow (RequestId: 4YZ{number:013d})")
        two.log.warning("again in %.1f s: %s", number / 7, "access denied")
    assert two.lines() == [
        "again in 0.0 s: slow (RequestId: 4YZ0000000000000)",
        "again in 0.0 s: access denied",
    ]


def test_there_is_a_limit_to_what_is_counted(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "MOST_KINDS", 2)
    for text in ("a", "b", "c", "c", "a"):
        two.log.warning(text)
    assert two.lines() == ["a", "b", "c", "c"]
