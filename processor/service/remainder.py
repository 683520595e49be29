"""The remainder: what is not done although the queue is drained; the last line of ``run --once``."""

import heapq
import logging
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from common import aws_errors
from common.layout import StoreLayout
from ingest.queue import Queue, connect
from processor.errors import PreflightError
from processor.service.preflight import find_queue
from processor.store import delta
from processor.store.patience import patiently

log = logging.getLogger(__name__)

SHOWN_KEYS = 3


def report(layout: StoreLayout, dead_letter_name: str) -> None:
    """Log what waits and what is dead now, and the commands that tell more. Raises like the store."""
    dead, dead_text = _dead_letters(dead_letter_name)
    pending, pending_text = patiently(lambda: _pending(layout))
    left = [text for text in (pending_text, dead_text) if text]
    level = logging.WARNING if left else logging.INFO
    extra = {"pending": pending, "dead_letters": dead}
    log.log(level, "drained; %s", "; ".join(left) or "no photo waits, no dead letters", extra=extra)


def _pending(layout: StoreLayout) -> tuple[int, str]:
    """How many photos wait, and a text about them, empty if none do."""
    reasons: Counter[str] = Counter()
    next_: list[dict[str, Any]] = []
    for rows in _rows(layout.pending):
        reasons.update(row["reason"] for row in rows)
        next_ = heapq.nsmallest(SHOWN_KEYS, [*next_, *rows], key=itemgetter("retry_at"))
    if not next_:
        return 0, ""
    count = reasons.total()
    keys = ", ".join(repr(row["key"]) for row in next_) + (", …" if count > len(next_) else "")
    causes = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
    at = next_[0]["retry_at"].isoformat(timespec="seconds")
    return count, (
        f"{count} photos wait ({causes}): {keys}; `python -m processor why KEY` says what for; the "
        f"service, or the next `run --once`, tries them again, the first after {at}"
    )


def _rows(folder: str) -> Iterator[list[dict[str, Any]]]:
    table = delta.open_table(folder)
    if table is not None:
        for batch in table.dataset().to_batches(columns=["key", "reason", "retry_at"]):
            yield batch.to_pylist()


def _dead_letters(queue_name: str) -> tuple[int | None, str]:
    """How many there are, None if unknown, and a text about them, empty if there are none."""
    try:
        url = find_queue(queue_name, "queue.dead_letter_name")
        count = Queue(connect(1), url).depth().total
    except PreflightError as error:
        return None, f"dead letters cannot be counted: {error}"
    except aws_errors.ERRORS as error:
        reason = aws_errors.explain(error, f"queue {queue_name!r}")
        return None, f"dead letters cannot be counted: {reason}"
    if not count:
        return 0, ""
    return count, f"{count} dead letters: `python -m processor redrive --dry-run` shows why"
