"""Processes of a benchmark: a child with all it starts, its memory and processor time sampled.

Everything is Linux's: a child leads a session of its own, and what it starts stays in that session,
also when the process in between has ended.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 300  # that a child may take before its first photo
SAMPLE_SECONDS = 0.5  # a sample takes about 3 ms
PSS_EVERY = 4  # samples; the kernel walks all pages for it


class BenchError(RuntimeError):
    """The benchmark cannot measure; the message says what went wrong and, if known, the fix."""


class Child:
    """``python -m MODULE …`` from the repository's root, with all its descendants.

    A context manager; what still runs of it afterwards is killed. Output goes to ``output``, stderr
    to the same name with ``.err`` behind it. ``python`` may be that of another environment.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        python: str = sys.executable,
    ) -> None:
        self.output = output
        self.module = module
        self.peak_rss_bytes = 0  # of all processes together; pages they share count for each
        self.peak_pss_bytes = 0  # the same, but pages shared by n count 1/n for each
        self._errors = output.with_name(output.name + ".err")
        self._used: dict[tuple[int, float], float] = {}  # by process: its processor seconds so far
        self._ended = threading.Event()
        self._sampling = threading.Lock()
        with output.open("wb") as out, self._errors.open("wb") as errors:
            self.started_at = time.time()
            self._process = subprocess.Popen(
                [python, "-m", module, *arguments],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
            )
        self._sampler = threading.Thread(target=self._sample_on, name="sampler", daemon=True)
        self._sampler.start()

    def cpu_seconds(self) -> float:
        """User and system time of all processes so far; the last half second of ended ones is lost."""
        self._sample()
        return sum(self._used.values())

    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_seconds: float) -> int:
        """The exit status. Raises :class:`BenchError` if it takes longer."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise BenchError(
                f"python -m {self.module} has not ended after {timeout_seconds:.0f} s: {self.said()}"
            ) from error

    def finish(self, timeout_seconds: float) -> None:
        """Wait for its end. BenchError unless that is a success."""
        status = self.wait(timeout_seconds)
        if status:
            raise BenchError(f"python -m {self.module} ended with {status}: {self.said()}")

    def told(self) -> dict[str, Any]:
        """The JSON object that is its last line."""
        return json.loads(self.output.read_text().splitlines()[-1])

    def stop(self, timeout_seconds: float) -> int:
        """The exit status after SIGTERM to the first process. BenchError if it takes longer."""
        self._process.terminate()
        return self.wait(timeout_seconds)

    def said(self) -> str:
        """The last line it wrote, for an error message."""
        for file in (self._errors, self.output):
            lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines and len(lines[-1]) > 500:
                return f"{lines[-1][:150]} … {lines[-1][-350:]}"  # the end names the cause
            if lines:
                return lines[-1]
        return "it wrote nothing"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._sampler.join()
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()

    def _sample_on(self) -> None:
        sample = 0
        while not self._ended.wait(SAMPLE_SECONDS):
            self._sample()
            sample += 1
            if sample % PSS_EVERY == 0:
                pss = sum(map(_pss, self._processes()))
                self.peak_pss_bytes = max(self.peak_pss_bytes, pss)

    def _sample(self) -> None:
        rss = 0
        with self._sampling:
            for pid in self._processes():
                try:
                    process = psutil.Process(pid)
                    with process.oneshot():
                        times = process.cpu_times()
                        rss += process.memory_info().rss
                except psutil.Error:
                    continue  # it ended meanwhile
                self._used[pid, process.create_time()] = times.user + times.system
            self.peak_rss_bytes = max(self.peak_rss_bytes, rss)

    def _processes(self) -> list[int]:
        def in_session(pid: int) -> bool:
            try:
                return os.getsid(pid) == self._process.pid
            except OSError:
                return False

        return [pid for pid in psutil.pids() if in_session(pid)]


def output_of(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> str:
    """What ``python -m MODULE …`` prints from start to end. BenchError if it fails."""
    done = subprocess.run(
        [python, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise BenchError(f"python -m {module} ended with {done.returncode}: {last}")
    return done.stdout


def run_together(
    children: Iterable[Child], go: Path, timeout_seconds: float
) -> tuple[list[Child], float]:
    """Children that began at once and have ended, and the Unix time at which they began.

    Each writes the line "ready", its first, and waits for the file ``go``. ``children`` is best a
    generator: it starts them, once there is no such file. BenchError if one fails.
    """
    go.unlink(missing_ok=True)
    with ExitStack() as stack:
        begun = [stack.enter_context(child) for child in children]
        _await_ready(begun)
        began = time.time()
        go.touch()
        for child in begun:
            child.finish(timeout_seconds)
    return begun, began


def _await_ready(children: Sequence[Child]) -> None:
    deadline = time.time() + START_SECONDS
    while not all(child.output.read_text().startswith("ready\n") for child in children):
        failed = next((child for child in children if not child.running()), None)
        if failed or time.time() > deadline:
            raise BenchError(f"the engine did not start: {(failed or children[0]).said()}")
        time.sleep(0.05)


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:  # it ended meanwhile
        return 0
    return sum(int(kb) << 10 for kb in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE))
