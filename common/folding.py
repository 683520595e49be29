"""Folding: a warning that is repeated becomes one line with a count."""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from common.log_lines import FOLDING, METRICS, fields_of, message_of

WINDOW_SECONDS = 60.0
MOST_KINDS = 1000  # of lines that are counted at a time; of further ones each passes
UNFOLDED: Mapping[str, bool] = {FOLDING: True}  # for ``extra`` of a line whose every figure counts
# What differs from one request to the next within the same cause: request ids, digests, hosts' ids.
# From the beginning of a word only: otherwise a long one without digits takes quadratic time.
_ID = re.compile(r"(?<![0-9A-Za-z+/=-])[0-9A-Za-z+/=-]*\d[0-9A-Za-z+/=-]{11,}")
# A line about one of these is never folded: which photos are concerned must stay in the log.
_NAMED = ("key", "message_id", METRICS)


@dataclass(slots=True)
class _Repeats:
    """A kind of line that has passed once in the current window."""

    since: float
    count: int
    last: logging.LogRecord
    about: Mapping[str, object]  # the fields of the last one


class Folding(logging.Filter):
    """A filter for all handlers of a process, which decides about each record once.

    Of warnings and errors with the same logger, level and text but for figures and ids (and, with a
    traceback, the same place of origin), the first one passes at once. Those that follow within
    WINDOW_SECONDS are counted; at the end of the window the last of them passes, with ``repeats``, how
    many there were, and ``seconds``, the window's length. Its text is its own, so that a query can add
    up the lines of a text. Where that was so, the next window begins at once. So a storm is one line a
    minute.

    Never folded: lines about a key or a message, metrics, what is logged with UNFOLDED, and text of
    which nothing is known, such as the stacks that other processes write to stderr.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._kinds: OrderedDict[Hashable, _Repeats] = OrderedDict()  # by their windows' beginning
        self._ticking: threading.Thread | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        passes = vars(record).get(FOLDING)
        if passes is None:
            passes = self._passes(record)
            setattr(record, FOLDING, passes)
        return bool(passes)

    def flush(self) -> None:
        """Log what has been counted so far, as before the end of the process."""
        self._end_windows(float("inf"))

    def _passes(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        about = fields_of(record)
        if any(name in about for name in _NAMED):
            return True
        kind = _kind(record)
        with self._lock:
            repeats = self._kinds.get(kind)
            if repeats:
                repeats.count += _lines(about)  # several, where another process has folded them
                repeats.last, repeats.about = record, about
                return False
            if len(self._kinds) < MOST_KINDS:
                self._kinds[kind] = _Repeats(time.monotonic(), 0, record, about)
                self._tick()
        return True

    def _tick(self) -> None:
        if self._ticking is None or not self._ticking.is_alive():
            self._ticking = threading.Thread(target=self._watch, name="folding", daemon=True)
            self._ticking.start()

    def _watch(self) -> None:
        while wait := self._until_next():
            time.sleep(wait)
            self._end_windows(time.monotonic())

    def _until_next(self) -> float:
        """Seconds until a window ends, at least a little; 0 if there is none, and this thread ends."""
        with self._lock:
            if not self._kinds:
                self._ticking = None
                return 0.0
            oldest = next(iter(self._kinds.values()))
            return max(0.01, oldest.since + WINDOW_SECONDS - time.monotonic())

    def _end_windows(self, now: float) -> None:
        ended: list[tuple[_Repeats, float]] = []
        with self._lock:
            for kind, repeats in list(self._kinds.items()):
                if repeats.since + WINDOW_SECONDS > now:
                    break
                del self._kinds[kind]
                if repeats.count:
                    ended.append((repeats, time.monotonic() - repeats.since))
                    if now != float("inf"):
                        again = _Repeats(time.monotonic(), 0, repeats.last, repeats.about)
                        self._kinds[kind] = again
        for repeats, seconds in ended:
            logging.getLogger().handle(_summary(repeats, seconds))


def _lines(about: Mapping[str, object]) -> int:
    """How many lines the one with these fields stands for."""
    folded = about.get("repeats")
    return folded if isinstance(folded, int) else 1


def _kind(record: logging.LogRecord) -> Hashable:
    origin: object = None
    trace = record.exc_info[2] if record.exc_info else None
    while trace:
        origin = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    error = record.exc_info[0] if record.exc_info else None
    given = record.args if isinstance(record.args, tuple) else (record.args,)
    causes = tuple(_ID.sub("", str(each)) for each in given if not isinstance(each, (int, float)))
    return record.name, record.levelno, str(record.msg), causes, error, origin


def _summary(repeats: _Repeats, seconds: float) -> logging.LogRecord:
    last = repeats.last
    return logging.makeLogRecord(
        {
            **repeats.about,
            "repeats": repeats.count,
            "seconds": round(seconds, 1),
            FOLDING: True,
            "name": last.name,
            "msg": message_of(last),
            "levelno": last.levelno,
            "levelname": last.levelname,
            "pathname": last.pathname,
            "exc_info": last.exc_info,
        }
    )
