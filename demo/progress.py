"""The progress: what the service's log lines add up to, and one line on the terminal that shows it."""

import shutil
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TextIO, TypedDict

RECENT = 5  # micro-batches over which the current rate is taken
PLAIN_SECONDS = 10.0  # at least, from any line to one of progress, where none can be redrawn
REDRAW_SECONDS = 0.1  # between two redraws of the bar
BAR, SHORT_BAR, BROAD = 24, 8, 100  # characters; the short bar up to BROAD columns


class LogLine(TypedDict, total=False):
    """A line of the service's log: what is read of it here, as far as it is there."""

    message: str
    at: str  # ISO 8601, with the time zone
    photos: int
    stored: int
    rejected: int


@dataclass(slots=True)
class Tally:
    """Counts and times from the service's log; :meth:`read` gets each line of it once."""

    photos: int
    stored: int = 0
    rejected: int = 0
    started_at: datetime | None = None
    batches: list[tuple[datetime, int]] = field(default_factory=list)  # end, photos

    def read(self, line: LogLine) -> None:
        match line.get("message"):
            case "service started":
                self.started_at = datetime.fromisoformat(line["at"])
            case "micro-batch durable":
                self.stored += line["stored"]
                self.rejected += line["rejected"]
                at = datetime.fromisoformat(line["at"])
                self.batches.append((at, line["photos"]))

    @property
    def settled(self) -> int:
        """Photos with an outcome, at most all: one that is retried is counted each time."""
        return min(self.photos, self.stored + self.rejected)

    def rate(self, batches: int = RECENT) -> float | None:
        """Photos a second over the last micro-batches, from the end of the one before.

        None until there are two: the first one loads the network.
        """
        span = self.batches[-batches - 1 :]
        seconds = (span[-1][0] - span[0][0]).total_seconds() if span else 0.0
        return sum(photos for _, photos in span[1:]) / seconds if seconds > 0 else None

    @property
    def steady_rate(self) -> float | None:
        """The rate over all micro-batches after the first."""
        return self.rate(len(self.batches))

    @property
    def share(self) -> float:
        return self.settled / self.photos

    def marks(self, began: datetime, ended: datetime) -> tuple[float, float, float]:
        """Seconds until the service had started, then to its last micro-batch, then to its end."""
        started = self.started_at or ended
        last = self.batches[-1][0] if self.batches else started
        return _seconds(began, started), _seconds(started, last), _seconds(last, ended)

    def seconds_left(self) -> float | None:
        rate = self.rate()
        return (self.photos - self.settled) / rate if rate else None

    def __str__(self) -> str:
        parts = [f"{self.stored}/{self.photos} featurised", f"{self.rejected} rejected"]
        rate, left = self.rate(), self.seconds_left()
        if rate:
            parts.append(f"{rate:.1f} photos/s")
        if left:
            parts.append(f"{duration(left)} left")
        return " · ".join(parts)


class Display:
    """One line that is redrawn on a terminal; elsewhere, as in a CI log, lines about changes only.

    There a step is announced once, when it begins, and its progress is printed when the counts are
    not those of the last line. Passing time is not a change: no line repeats another.
    """

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._last_text = ""
        self._last_at = float("-inf")

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        self._print(text)

    def step(
        self, text: str, *, share: float | None = None, elapsed_seconds: float | None = None
    ) -> None:
        """What goes on; a terminal shows ``share`` as a bar and the seconds since it began."""
        if self._live:
            since = "" if elapsed_seconds is None else f", {duration(elapsed_seconds)}"
            self._redraw(text + since, share)
        elif text != self._last_text:
            self._print(text)

    def progress(self, text: str, share: float) -> None:
        """How far the step is: the counts, and the share of it that is done."""
        if self._live:
            self._redraw(text, share)
        elif text != self._last_text and time.monotonic() - self._last_at >= PLAIN_SECONDS:
            self._print(text)

    def _redraw(self, text: str, share: float | None) -> None:
        width = shutil.get_terminal_size().columns - 1
        if share is not None:
            now = time.monotonic()
            if now - self._last_at < REDRAW_SECONDS:
                return
            self._last_at = now
            bar = BAR if width > BROAD else SHORT_BAR
            full = round(bar * min(1.0, share))
            text = f"{'━' * full}{'╌' * (bar - full)}  {text}"
        self._stream.write(f"\r\x1b[K{text[:width]}")
        self._stream.flush()

    def _print(self, text: str) -> None:
        if not self._live:
            self._last_text, self._last_at = text, time.monotonic()
        print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _seconds(since: datetime, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds())


def duration(seconds: float) -> str:
    """``8.4 s``, ``42 s``, ``3 min 5 s`` or ``2 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
