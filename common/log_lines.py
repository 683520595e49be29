"""The log line: a record as one line of JSON: printable, without secrets, short enough for journald."""

import contextlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from common.log_context import fields
from common.printable import printable
from common.redaction import REDACTED, is_clean, names_a_secret, redacted, without_known

# Bytes of UTF-8, line break included. journald cuts lines at 48 KiB (LineMax= in journald.conf(5)) and
# CloudWatch events at 256 KiB; what is cut is JSON no more.
MAX_LINE = 48_000
METRICS = "_aws"  # a line with this field is a document of metrics, see :class:`JsonFormatter`
FOLDING = "_folding"  # what :mod:`common.folding` has decided about a record
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", FOLDING}
_OWN = ("at", "level", "logger")  # never cut
_NAMES = (*_OWN, "batch", "key", "message_id")
_ELLIPSIS = 5  # bytes, in quotes
_VERBATIM = frozenset({"key", "message_id"})  # names of others': only known secrets go


class JsonFormatter(logging.Formatter):
    """``{"at", "level", "logger", "message", …}``; bound fields and those of ``extra`` follow.

    Never raises because a call's arguments do not fit its text. All that is in a line is printable, and
    none is longer than MAX_LINE: the longest values are shortened, messages at their end and tracebacks
    at their beginning, and the field ``truncated`` names them. Secrets are redacted, see
    :mod:`common.redaction`.

    A line with the field ``_aws`` is a document in CloudWatch's embedded metric format: its fields are
    written as they are.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": message_of(record),
            **fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if METRICS in line:
            return _dumped(line)
        with contextlib.suppress(ValueError):  # it has numbers that JSON lacks
            text = printable(json.dumps(line, ensure_ascii=False, allow_nan=False, default=str))
            if _bytes(text) < MAX_LINE and is_clean(text):
                return text
        return _shortened({name: _safe(name, value) for name, value in line.items()})


def message_of(record: logging.LogRecord) -> str:
    """The message, also where the call's arguments do not fit its text."""
    try:
        return record.getMessage()
    except Exception as error:
        return f"{record.msg} % {record.args!r} ({error!r})"


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What is bound where the record is logged, and what was passed as ``extra``, which counts more."""
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {**fields(), **extra}


def is_standard(name: str) -> bool:
    """Whether each record has an attribute of this name, so that no field can have it."""
    return name in _STANDARD


def _safe(name: str, value: object) -> object:
    """The value as JSON has it, without secrets."""
    if names_a_secret(name) and value:
        return REDACTED
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no such numbers
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(inner): _safe(str(inner), each) for inner, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_safe("", each) for each in value]
    text = str(value)
    return without_known(text) if name in _VERBATIM else redacted(text)


def _shortened(line: dict[str, Any]) -> str:
    text = _dumped(line)
    if _bytes(text) < MAX_LINE:
        return text
    sizes = {name: _bytes(_dumped(value)) for name, value in line.items() if name not in _NAMES}
    fixed = _bytes(text) - sum(sizes.values()) + _bytes(_dumped({"truncated": list(sizes)}))
    most = _fair_share(sorted(sizes.values()), MAX_LINE - 1 - fixed)
    if most < _ELLIPSIS:  # the names alone take too much
        few = {name: value for name, value in line.items() if name in (*_NAMES, "message")}
        return _shortened({**few, "truncated": ["fields"]})
    cut = sorted(name for name, size in sizes.items() if size > most)
    for name in cut:
        whole = line[name] if isinstance(line[name], str) else _dumped(line[name])
        line[name] = _end(whole, most) if name == "exception" else _beginning(whole, most)
    return _dumped({**line, "truncated": cut})


def _fair_share(sizes: Sequence[int], room: int) -> int:
    """How much each may take at most, so that all fit into ``room``; ``sizes`` are in order."""
    for index, size in enumerate(sizes):
        share = room // (len(sizes) - index)
        if size > share:
            return share
        room -= size
    return room


def _beginning(text: str, room: int) -> str:
    """As much of the beginning as takes ``room`` bytes, with quotes and an ellipsis."""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        fits = _bytes(_dumped(f"{text[:middle]}…")) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return f"{text[:low]}…"


def _end(text: str, room: int) -> str:
    return _beginning(text[::-1], room)[::-1]


def _dumped(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False, default=str))


def _bytes(text: str) -> int:
    return len(text.encode(errors="backslashreplace"))
