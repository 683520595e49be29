"""CloudWatch Logs: every log line is sent there too, without ever slowing or stopping the service.

By watchtower's handler, whose thread makes batches of the lines. What differs from it: the lines that
wait are limited, in number and bytes; a batch that is not accepted is sent again for as long as it
takes, not five times at once; lines that are lost are counted, and the log says how many; the end takes
FLUSH_SECONDS at most, whatever CloudWatch does.
"""

import contextlib
import logging
import os
import platform
import queue
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import watchtower
from botocore.exceptions import ClientError, NoCredentialsError

from common import aws, aws_errors, logs
from common.folding import UNFOLDED
from common.log_lines import JsonFormatter

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0  # the longest that the process waits for the last lines when it ends
SEND_SECONDS = 5  # between two requests, if there are lines
READ_SECONDS = 5
MOST_LINES = 50_000  # that wait; further ones are lost there
MOST_BYTES = 32 << 20
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0  # between tries of one request
LAST_WAIT_SECONDS = 0.2  # the same at the end
MOST_SPAN_MS = 23 * 3600 * 1000  # of one request's lines; CloudWatch refuses 24 h
_OURS = ("botocore", "urllib3", "boto3")  # what they log while lines are sent would never end
_WRONG = ("InvalidParameterException", "SerializationException", "ValidationException")  # for ever
_LOST = "%d log lines did not reach CloudWatch: %s"

_Event = Mapping[str, Any]  # timestamp, message


def attach(group: str) -> None:
    """Also send every line to the log group ``group``, as stream ``machine/start/process id``.

    The group is not created here: ``python -m infra_scripts deploy`` does that, with its retention.
    Where it is missing, or CloudWatch cannot be reached or refuses, lines wait, as many as MOST_LINES.
    Raises what :func:`common.aws.client` raises.
    """
    logging.getLogger().addHandler(_Handler(group, _connect()))


def _connect() -> "CloudWatchLogsClient":
    return aws.client("logs", read_seconds=READ_SECONDS, attempts=2)


def _stream_name() -> str:
    """Unique, because process ids are reused; without colons, which CloudWatch forbids."""
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    return f"{platform.node()}/{started}/{os.getpid()}".replace(":", "-").replace("*", "-")


class _Handler(watchtower.CloudWatchLogHandler):
    """watchtower's handler with a bounded queue, patience, and an end."""

    def __init__(self, group: str, client: "CloudWatchLogsClient") -> None:
        self._counting = threading.Lock()
        self._waiting = self._waiting_bytes = self._lost = 0
        self._cause = ""  # why CloudWatch takes nothing; empty while it does
        self._token: str | None = None
        self._closing = threading.Event()
        self._end_by = float("inf")
        stream = _stream_name()
        super().__init__(
            log_group_name=group,
            log_stream_name=stream,
            boto3_client=client,
            send_interval=SEND_SECONDS,
            create_log_group=False,
        )
        self.setFormatter(JsonFormatter())
        self.addFilter(logs.FOLDING)
        self.addFilter(lambda record: not record.name.startswith(_OURS))
        self._lines: queue.Queue[Any] = queue.Queue()
        self._sender = threading.Thread(
            target=self._dequeue_batch,
            args=(self._lines, stream, SEND_SECONDS, self.max_batch_size, self.max_batch_count),
            name="cloudwatch",
            daemon=True,
        )
        self._sender.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """As logging's, but without the lock: shutdown() holds that while the sender may log."""
        passes = bool(self.filter(record))
        if passes:
            self.emit(record)
        return passes

    def emit(self, record: logging.LogRecord) -> None:
        """Have the line sent soon, or count it as lost where too many wait."""
        try:
            event = {"timestamp": int(record.created * 1000), "message": self.format(record)}
        except Exception:  # which stdout has counted too
            self._lose(1)
            return
        size = self._size(event)
        with self._counting:
            full = self._waiting >= MOST_LINES or self._waiting_bytes + size > MOST_BYTES
            if full or self._closing.is_set():
                self._lost += 1
                return
            self._waiting += 1
            self._waiting_bytes += size
        self._lines.put(event)

    def flush(self) -> None:
        """Have what waits sent now; :meth:`close` waits for it."""
        if not self._closing.is_set():
            self._lines.put(self.FLUSH)

    def close(self) -> None:
        """Send what waits, for FLUSH_SECONDS; what is not sent by then is lost there, and counted."""
        if self._closing.is_set():
            return
        self._end_by = time.monotonic() + FLUSH_SECONDS
        self._closing.set()
        self._lines.put(self.END)
        self._sender.join(FLUSH_SECONDS)
        with self._counting:
            left = self._lost + self._waiting
        logging.getLogger().removeHandler(self)
        logging.Handler.close(self)
        if left:
            cause = self._cause or "it did not answer before the end"
            log.warning(_LOST, left, cause, extra={"lines": left, **UNFOLDED})

    def _size(self, msg: object) -> int:
        size: int = super()._size(msg)  # type: ignore[no-untyped-call]
        return size

    def _submit_batch(
        self, batch: Sequence[_Event], log_stream_name: str, max_retries: int = 0
    ) -> None:
        """Called by watchtower's loop, in the sender's thread; returns when the batch is settled."""
        for events in _spans(sorted(batch, key=lambda each: each["timestamp"])):
            if not self._deliver(events, log_stream_name):
                return  # at the end; close() counts what is left
            with self._counting:
                self._waiting -= len(events)
                self._waiting_bytes -= sum(map(self._size, events))
            self._report()

    def _deliver(self, events: Sequence[_Event], stream: str) -> bool:
        """Send them until CloudWatch takes them, or never will; False if the end came first."""
        pause = FIRST_WAIT_SECONDS
        while True:
            try:
                self._send(events, stream)
            except Exception as error:  # any: without this thread no line would ever be sent
                if self._is_settled(error, len(events)):
                    return True
            else:
                return True
            left = self._end_by - time.monotonic()
            if left <= 0:
                return False
            if self._closing.wait(min(pause, left)):
                time.sleep(min(LAST_WAIT_SECONDS, max(0.0, self._end_by - time.monotonic())))
            pause = min(LONGEST_WAIT_SECONDS, 2 * pause)

    def _is_settled(self, error: Exception, lines: int) -> bool:
        """Whether sending so many lines again is no use, given that it failed so."""
        code = aws_errors.code_of(error) if isinstance(error, ClientError) else ""
        if code == "DataAlreadyAcceptedException":
            return True
        known = isinstance(error, aws_errors.ERRORS)
        self._note(aws_errors.explain(error, hint="") if known else repr(error))
        if code in _WRONG:
            self._lose(lines)
            return True
        if isinstance(error, ClientError) and code == "InvalidSequenceTokenException":
            token: Any = error.response.get("expectedSequenceToken")
            self._token = token
        if isinstance(error, NoCredentialsError):  # a client does not look for new ones
            with contextlib.suppress(Exception):  # the next try fails as this one
                self.cwl_client = _connect()
        return False

    def _send(self, events: Sequence[_Event], stream: str) -> None:
        """One request, or three where the stream is new. Raises what botocore raises."""
        request: Any = {"logGroupName": self.log_group_name, "logStreamName": stream}
        token = {"sequenceToken": self._token} if self._token else {}  # AWS needs none any more
        errors = self.cwl_client.exceptions
        try:
            answer = self.cwl_client.put_log_events(**request, logEvents=events, **token)
        except errors.ResourceNotFoundException:
            with contextlib.suppress(errors.ResourceAlreadyExistsException):
                self.cwl_client.create_log_stream(**request)
            answer = self.cwl_client.put_log_events(**request, logEvents=events)
        self._token = answer.get("nextSequenceToken") if self._token else None
        rejected = answer.get("rejectedLogEventsInfo", {})
        too_old = max(
            rejected.get("tooOldLogEventEndIndex", 0), rejected.get("expiredLogEventEndIndex", 0)
        )
        too_new = len(events) - rejected.get("tooNewLogEventStartIndex", len(events))
        if too_old + too_new:
            self._lose(too_old + too_new)
            self._cause = "their time is too long ago, or in the future: is the clock right?"

    def _lose(self, lines: int) -> None:
        with self._counting:
            self._lost += lines

    def _note(self, cause: str) -> None:
        """Say once, and again after it was over, that CloudWatch takes nothing."""
        first, self._cause = not self._cause, cause
        if first and not self._closing.is_set():
            log.warning("CloudWatch takes no log lines; up to %d wait here: %s", MOST_LINES, cause)

    def _report(self) -> None:
        """A request is settled: say that CloudWatch takes lines again, and how many it did not get."""
        if self._closing.is_set():
            return  # close() says it
        cause, self._cause = self._cause, ""
        with self._counting:
            lost, self._lost = self._lost, 0
        if lost:
            more = {"lines": lost, **UNFOLDED}
            log.warning(_LOST, lost, cause or "too many waited", extra=more)
        elif cause:
            log.info("CloudWatch takes log lines again; none was lost")


def _spans(events: Sequence[_Event]) -> Iterator[Sequence[_Event]]:
    """The events, which are in order, in pieces that CloudWatch takes: an outage may last for days."""
    while events:
        end = events[0]["timestamp"] + MOST_SPAN_MS
        count = bisect_right(events, end, key=lambda each: int(each["timestamp"]))
        yield events[:count]
        events = events[count:]
