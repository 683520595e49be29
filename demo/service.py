"""The service of the demo: ``python -m processor run --once``, as it runs anywhere, in a child."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import psutil

from common import aws
from demo.errors import DemoError
from demo.progress import LogLine
from ingest.queue import Queue
from processor.service.preflight import find_queue

ROOT = Path(__file__).resolve().parent.parent
GRACE_SECONDS = 5
ASK_SECONDS = 2.0


class ServiceProcess:
    """A context manager: the service, until it ends on its own or the context is left.

    Its log goes to ``log_file``, which :meth:`lines` reads, its temporary files to ``scratch``;
    otherwise it inherits our environment. The service, Spark's JVM and its workers are gone when
    the context is left.
    """

    def __init__(self, log_file: Path, scratch: Path) -> None:
        self.log_file = log_file
        self._scratch = scratch
        self._errors = log_file.with_name(f"{log_file.name}.errors")

    def __enter__(self) -> Self:
        self._scratch.mkdir(exist_ok=True)
        elsewhere = {
            "TMPDIR": str(self._scratch),
            "SPARK_SUBMIT_OPTS": f"-Djava.io.tmpdir={self._scratch}",  # Spark's JVM takes it from here
        }
        with self.log_file.open("wb") as log, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                _guarded([sys.executable, "-m", "processor", "run", "--once"]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
                cwd=ROOT,
                env=os.environ | elsewhere,
                start_new_session=True,  # Ctrl-C is for us to handle
            )
        self._reader: IO[bytes] = self.log_file.open("rb")
        self._rest = b""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()
        if self._process.poll() is None:
            root = psutil.Process(self._process.pid)
            family = [root, *root.children(recursive=True)]  # Spark makes sessions of its own
            for each in family:
                _send(each, signal.SIGTERM)
            _, left = psutil.wait_procs(family, GRACE_SECONDS)
            for each in left:
                _send(each, signal.SIGKILL)
            self._process.wait()
        self._errors.unlink(missing_ok=True)

    def ended(self, wait_seconds: float) -> bool:
        """Whether it has ended, waiting so long for it. Raises DemoError if it failed."""
        try:
            status = self._process.wait(wait_seconds)
        except subprocess.TimeoutExpired:
            return False
        if status:
            raise DemoError(f"{self._cause(status)} (more: tail {self.log_file})")
        return True

    def lines(self) -> Iterator[LogLine]:
        """The log lines since the last call."""
        *whole, self._rest = (self._rest + self._reader.read()).split(b"\n")
        for raw in whole:
            try:
                line = json.loads(raw)
            except ValueError:  # not a log line; whoever reads the file finds it there
                continue
            if isinstance(line, dict):
                yield cast(LogLine, line)

    def _cause(self, status: int) -> str:
        errors = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if errors and errors[-1].startswith("error: "):
            return f"the service failed: {without_trace(errors[-1].removeprefix('error: '))}"
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return f"the service ended {how}{': ' + errors[-1] if errors else ''}"


class Backlog:
    """Messages that the queue still holds, looked up every ASK_SECONDS at most."""

    def __init__(self, queue: str) -> None:
        self._queue = Queue(aws.client("sqs"), find_queue(queue))
        self._asked_at = float("-inf")
        self._messages = 0

    def messages(self) -> int:
        """Visible and in flight, as SQS counts them: approximately."""
        if time.monotonic() - self._asked_at >= ASK_SECONDS:
            depth = self._queue.depth()
            self._messages = depth.visible + depth.in_flight
            self._asked_at = time.monotonic()
        return self._messages


def without_trace(fault: str) -> str:
    """The error at the end of ``fault``, if that is a whole stack trace on one line."""
    if "Traceback (most recent call last)" not in fault:
        return fault
    last = re.search(r".*\b([A-Z]\w*(?:Error|Exception|Exit): .*)", fault, re.DOTALL)
    return last[1] if last else fault.partition("Traceback")[0]


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _guarded(command: Sequence[str]) -> list[str]:
    """The command, wrapped so that the kernel kills it if the demo itself is killed.

    That takes util-linux; without it the service would wait forever for an AWS that is gone.
    """
    guard = shutil.which("setpriv")
    return [guard, "--pdeathsig", "KILL", *command] if guard else list(command)
