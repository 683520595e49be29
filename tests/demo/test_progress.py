"""What the log lines add up to, and how it is told on a terminal and elsewhere."""

import io
from datetime import UTC, datetime, timedelta

import pytest

from demo.progress import Display, Tally, duration

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def at(seconds):
    return (NOON + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def batch(seconds, photos, rejected=0):
    return {
        "at": at(seconds),
        "message": "micro-batch durable",
        "photos": photos,
        "stored": photos - rejected,
        "rejected": rejected,
    }


def test_tally():
    tally = Tally(100)
    assert (tally.share, tally.rate(), tally.steady_rate, tally.seconds_left()) == (0, *[None] * 3)
    tally.read({"at": at(5), "message": "service started"})
    tally.read({"at": at(9), "message": "something else"})
    tally.read(batch(25, 20))
    assert tally.rate() is None  # it has loaded the network
    assert str(tally) == "20/100 featurised · 0 rejected"
    tally.read(batch(30, 20, rejected=2))
    tally.read(batch(35, 20))
    assert (tally.stored, tally.rejected, tally.settled, tally.share) == (58, 2, 60, 0.6)
    assert tally.rate() == tally.steady_rate == 4.0
    assert tally.seconds_left() == 10.0
    assert str(tally) == "58/100 featurised · 2 rejected · 4.0 photos/s · 10 s left"
    assert tally.marks(NOON, NOON + timedelta(seconds=42)) == (5, 30, 7)


def test_the_rate_follows_the_last_batches():
    tally = Tally(1000)
    for n in range(5):
        tally.read(batch(10 * n, 10))
    for n in range(5):
        tally.read(batch(50 + n, 10))
    assert tally.rate(4) == 10.0
    assert tally.steady_rate == pytest.approx(90 / 54)


def test_a_photo_tried_again_counts_once_at_most():
    tally = Tally(3)
    tally.read(batch(1, 3, rejected=1))
    tally.read(batch(61, 1))
    assert tally.settled == 3
    assert tally.seconds_left() == 0


def test_marks_of_a_service_that_did_nothing():
    assert Tally(1).marks(NOON, NOON + timedelta(seconds=3)) == (3, 0, 0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_line_redrawn(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    display = Display(stream)
    display.show("half of it, told at length and beyond the edge", 0.5)
    display.show("too soon", 0.6)
    display.say("done")
    assert stream.getvalue() == "\r\x1b[K━━━━╌╌╌╌  half of it, told at\r\x1b[Kdone\n"


def test_a_file_gets_a_plain_line_now_and_then(monkeypatch):
    clock = iter([0.0, 1.0, 11.0])
    monkeypatch.setattr("demo.progress.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    display = Display(stream)
    for text in ("one", "two", "three"):
        display.show(text, 0.5)
    display.clear()
    assert stream.getvalue() == "one\nthree\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
