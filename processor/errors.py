"""What can go wrong in the processor; the text of each error is one line that names cause and fix.

::

    ProcessorError
    ├── SetupError             nothing can run as configured; restarting does not help
    │   ├── PreflightError     the bucket or the queue is missing, or may not be used
    │   ├── JavaError          no Java that Spark can run on is installed
    │   ├── WeightsError       the network's weights are missing, damaged or not the ones named
    │   ├── NetworkError       the network cannot run here, or computes useless features
    │   ├── BudgetError        the memory of large photos cannot be limited
    │   └── StoreError         the store cannot be used as configured, or as somebody has altered it
    ├── ServiceError           the service had to stop; restarted, it continues where it stopped
    ├── CommitConflict         retryable: another writer committed first, nothing was changed
    ├── ChildError             a child process failed
    └── PhotoError             concerns one photo; the others in its batch are not affected
        ├── RejectedImage      poison: its bytes do not decode, now or on any retry
        ├── TooLarge           poison: it has more bytes than we read
        ├── Missing            there is no such object
        ├── Refused            retryable, later: S3 does not let us read this object
        └── Unavailable        retryable: S3 could not answer, or this machine not decode it

Any other exception from a commit leaves its outcome unknown, until the next ``refresh`` reads the
table's log. AWS errors that concern everything rather than one photo (no such bucket, invalid
credentials) stay botocore's; :func:`common.aws_errors.explain` puts them into words.
"""

import re


class ProcessorError(RuntimeError):
    """The base of all errors that the processor raises itself."""


class SetupError(ProcessorError):
    """Something about the machine, the account or the configuration has to change first."""


class PreflightError(SetupError):
    """Something that the service needs in AWS is missing."""


class JavaError(SetupError):
    """No Java that Spark can run on is installed; the message says how to install one."""


class WeightsError(SetupError):
    """The network's weights are missing, damaged or not the ones named."""


class NetworkError(SetupError):
    """The network cannot run here, or computes features that cannot be stored."""


class BudgetError(SetupError):
    """The memory that large photos take cannot be limited; the message names the file at fault."""


class StoreError(SetupError):
    """The store cannot be used as configured, or as somebody has altered it."""


class ServiceError(ProcessorError):
    """The service had to stop; the message names the cause and, if known, the fix."""


class CommitConflict(ProcessorError):
    """Another writer committed first; nothing was changed."""


class ChildError(ProcessorError):
    """A child process failed; ``reason`` is its own explanation, empty if it could not give one."""

    def __init__(self, reason: str, trace: str) -> None:
        super().__init__(reason or trace)
        self.reason = reason


class PhotoError(ProcessorError):
    """One photo could not be processed."""


class RejectedImage(PhotoError):
    """A file that is not a usable photo, now and on every retry.

    ``reason`` is one of empty, unsupported, corrupt, truncated, too-large; ``detail`` is one
    printable line of at most 300 characters that names the cause and, if there is one, the fix.
    """

    def __init__(self, reason: str, detail: str) -> None:
        printable = "".join(c if c.isprintable() else " " for c in detail)
        self.reason = reason
        self.detail = " ".join(printable.split())[:300]
        super().__init__(self.reason, self.detail)  # with both, or it could not be unpickled

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class TooLarge(PhotoError):
    """An object with more bytes than the limit; it was not read. ``version``: see ``version_of``."""

    def __init__(self, detail: str, version: str) -> None:
        super().__init__(detail, version)  # both, or it would not unpickle
        self.detail = detail
        self.version = version

    def __str__(self) -> str:
        return self.detail


class Missing(PhotoError):
    """There is no object under this key, or its newest version is a delete marker."""


class Refused(PhotoError):
    """S3 does not let us read this object; ``reason`` is a short name such as ``forbidden``."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class Unavailable(PhotoError):
    """S3 could not answer, or this machine could not decode the photo; a retry may succeed."""


NOTHING_LOST = "nothing is lost: start it again, and it continues where it stopped"

_WORKER_KILLED = "one of Spark's Python processes was killed (by the out-of-memory killer?)"
_SOURCE_KILLED = "the process that reads the queue was killed (by the out-of-memory killer?)"
_WORKER_LATE = (
    "a Python process that Spark started did not connect within 10 s (killed, or is the machine "
    "overloaded?)"
)
_DEATHS = (_WORKER_KILLED, _SOURCE_KILLED, _WORKER_LATE)
# Errors whose text is meant to be read.
_OURS = re.compile(r"^(?:common|ingest|processor)\.[\w.]+: ")
# How Java finds the other end of the source's socket gone.
_NO_SOURCE = ("", "Broken pipe", "Connection reset", "Connection reset by peer", "Socket closed")


def cause_in(text: str) -> str:
    """The line of a message that names the cause; the message may be a worker's whole traceback.

    Of Spark's own messages it is what remains without job, stage, query and SQLSTATE.
    """
    _, traceback, rest = text.rpartition("Traceback (most recent call last):")
    lines = [line for line in rest.splitlines() if line and not line[0].isspace()]
    if traceback and lines:
        return _OURS.sub("", lines[0])
    if "Python worker exited unexpectedly" in text:
        return _WORKER_KILLED
    if started_late(text):
        return _WORKER_LATE
    query = re.search(r"terminated with exception: ?(.*?) ?SQLSTATE", text)
    if query:
        return _SOURCE_KILLED if query[1] in _NO_SOURCE else query[1]
    java = re.search(r"An error occurred while calling .*\n: (.+)", text)
    if java:
        return re.sub(r".*\b(?:\w+\.)+\w+(?:Exception|Error): ", "", java[1])
    return text.strip().partition("\n")[0]


def started_late(text: str) -> bool:
    """Whether a Python process of Spark's did not connect in time, which another attempt may mend."""
    return "Python worker failed to connect back" in text


def fault_in(text: str) -> str:
    """The cause, and what happens next if it was the death of a process."""
    cause = cause_in(text)
    return f"{cause}: {NOTHING_LOST}" if cause in _DEATHS else cause
