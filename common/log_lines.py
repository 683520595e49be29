"""The log line: a record as one line of JSON: printable, without secrets, short enough for journald."""

import json
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from common.log_context import fields
from common.printable import printable
from common.redaction import REDACTED, names_a_secret, redacted, without_known

# Bytes of UTF-8, line break included. journald cuts lines at 48 KiB (LineMax= in journald.conf(5)) and
# CloudWatch events at 256 KiB; what is cut is JSON no more.
MAX_LINE = 48_000
METRICS = "_aws"  # a line with this field is a document of metrics, see :class:`JsonFormatter`
FOLDING = "_folding"  # what :mod:`common.folding` has decided about a record
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", FOLDING}
_OWN = ("at", "level", "logger")  # never cut
_NAMES = (*_OWN, "batch", "key", "message_id")
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
    excess = _bytes(text) + 1 - MAX_LINE
    cut: list[str] = []
    while excess > 0:
        longest = max(line, key=lambda name: 0 if name in _NAMES else _bytes(_dumped(line[name])))
        whole = line[longest] if isinstance(line[longest], str) else _dumped(line[longest])
        cut.append(longest)
        line["truncated"] = sorted(set(cut))
        room = max(0, _bytes(_dumped(whole)) - excess - 40 * len(cut))
        line[longest] = _end(whole, room) if longest == "exception" else _beginning(whole, room)
        text = _dumped(line)
        excess = _bytes(text) + 1 - MAX_LINE
        if not room and len(cut) > len(line):
            break  # nothing is left to cut but names
    return text


def _beginning(text: str, room: int) -> str:
    """As much of the beginning as takes ``room`` bytes, quotes included, and an ellipsis."""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _bytes(_dumped(text[:middle])) <= room else (low, middle - 1)
    return f"{text[:low]}…"


def _end(text: str, room: int) -> str:
    return _beginning(text[::-1], room)[::-1]


def _dumped(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False, default=str))


def _bytes(text: str) -> int:
    return len(text.encode(errors="backslashreplace"))
