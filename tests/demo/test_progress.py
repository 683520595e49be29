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


@pytest.fixture
def clock(monkeypatch):
    """The display's clock, in seconds; tests turn it."""
    now = [0.0]
    monkeypatch.setattr("demo.progress.time.monotonic", lambda: now[0])
    return now


def test_a_terminal_gets_one_line_redrawn(monkeypatch, clock):
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    display = Display(stream)
    display.step("starting", elapsed_seconds=1)
    display.step("starting", elapsed_seconds=1.5)
    display.progress("half of it, told at length and beyond the edge", 0.5)
    display.progress("too soon", 0.6)
    clock[0] = 1.0
    display.progress("unchanged", 0.6)
    clock[0] = 2.0
    display.progress("unchanged", 0.6)
    clock[0] = 3.0
    display.step("the last step", share=1.0)
    display.say("done")
    assert stream.getvalue().split("\r\x1b[K") == [
        "",
        "starting, 1.0 s",
        "starting, 1.5 s",
        "━━━━╌╌╌╌  half of it, told at",
        *["━━━━━╌╌╌  unchanged"] * 2,
        "━━━━━━━━  the last step",
        "done\n",
    ]


def test_a_file_gets_a_line_for_each_step_at_once(clock):
    stream = io.StringIO()
    display = Display(stream)
    for seconds in range(100):
        clock[0] = float(seconds)
        display.step("starting", elapsed_seconds=seconds)
    display.step("all of it · fitting", share=1.0)
    display.step("all of it · fitting", share=1.0)
    display.say("done")
    display.clear()
    assert stream.getvalue() == "starting\nall of it · fitting\ndone\n"


def test_a_file_gets_progress_now_and_then_and_only_if_there_is_any(clock):
    stream = io.StringIO()
    display = Display(stream)
    display.step("starting")
    for seconds, count in enumerate([0] * 30 + [1, 2, *[3] * 50, *range(4, 26)]):
        clock[0] = float(seconds)
        display.progress(f"{count} of 25", count / 25)
    display.say("done")
    assert stream.getvalue().splitlines() == [
        "starting",
        "0 of 25",  # at 10 s
        "1 of 25",  # at 30 s, as soon as it changes
        "3 of 25",  # at 40 s
        "4 of 25",  # at 82 s
        "14 of 25",  # at 92 s
        "24 of 25",
        "done",
    ]


def test_a_service_that_starts_slowly_and_stalls_fills_no_log(clock):
    """The lines of one run, as the demo shows them every half second."""
    stream = io.StringIO()
    display, tally = Display(stream), Tally(120)
    for tick in range(400):
        clock[0] = tick / 2
        if tick < 60:
            display.step("starting the service", elapsed_seconds=tick / 2)
            continue
        if tick in (100, 120):
            tally.read(batch(tick / 2, 40))
        display.progress(f"{120 - tally.settled} queued · {tally}", tally.share)
    assert stream.getvalue().splitlines() == [
        "starting the service",
        "120 queued · 0/120 featurised · 0 rejected",
        "80 queued · 40/120 featurised · 0 rejected",
        "40 queued · 80/120 featurised · 0 rejected · 4.0 photos/s · 10 s left",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
