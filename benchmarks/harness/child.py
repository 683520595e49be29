"""A child process of a benchmark: ``python -m MODULE …`` and everything that it starts."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from benchmarks.harness.blas import FORCED_KERNEL, unforced
from benchmarks.harness.errors import BenchError
from benchmarks.harness.usage import Usage

ROOT = Path(__file__).resolve().parents[2]  # of the repository
START_SECONDS = 300  # that a child may take before its first photo
LINE = 500  # characters of a message that are shown whole

T = TypeVar("T")


class Child:
    """``python -m MODULE …`` from the repository's root, with all its descendants.

    A context manager; whatever is still running at its end is killed. Output goes to the file
    ``output``, stderr to the same name with ``.err`` appended. ``python`` may be that of another
    environment. OpenBLAS picks its own kernel (:mod:`benchmarks.harness.blas`) unless
    ``forced_kernel`` names one. It runs on ``cores``, by default on ours.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        *,
        python: str = sys.executable,
        forced_kernel: str | None = None,
        cores: Collection[int] | None = None,
    ) -> None:
        self.output = output
        self.module = module
        self._errors = output.with_name(output.name + ".err")
        forced = {FORCED_KERNEL: forced_kernel} if forced_kernel else {}
        ours = os.sched_getaffinity(0)
        with output.open("wb") as out, self._errors.open("wb") as errors:
            os.sched_setaffinity(0, cores or ours)  # of this thread, which a child inherits
            self.started_at = time.time()
            self._process = subprocess.Popen(
                [python, "-m", module, *arguments],
                cwd=ROOT,
                env=unforced(environment) | forced,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
            )
            os.sched_setaffinity(0, ours)
        self.usage = Usage(self._process.pid)

    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_seconds: float) -> int:
        """The exit status. Raises :class:`BenchError` after ``timeout_seconds``."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise BenchError(
                f"python -m {self.module} is still running after {timeout_seconds:.0f} s: "
                f"{self.last_line()}"
            ) from error

    def finish(self, timeout_seconds: float) -> None:
        """Wait for the end. Raises :class:`BenchError` unless the exit status is 0."""
        status = self.wait(timeout_seconds)
        if status:
            raise BenchError(f"python -m {self.module} exited with {status}: {self.last_line()}")

    def stop(self, timeout_seconds: float) -> int:
        """Send SIGTERM to the first process; its exit status. Raises as :meth:`wait` does."""
        self._process.terminate()
        return self.wait(timeout_seconds)

    def result(self, shape: type[T]) -> T:
        """Its last line, a JSON object of this shape. Raises :class:`BenchError` if it is not."""
        return parse(shape, self.output.read_text(encoding="utf-8"), self.module)

    def last_line(self) -> str:
        """The last line that it wrote, for an error message."""
        for file in (self._errors, self.output):
            lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines and len(lines[-1]) > LINE:
                return f"{lines[-1][:150]} … {lines[-1][150 - LINE :]}"  # the end names the cause
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
        self.usage.stop()
        for process in self.usage.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()


def output_of(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> str:
    """Everything that ``python -m MODULE …`` prints. Raises :class:`BenchError` if it fails.

    Without an ``environment`` it inherits this process's; OpenBLAS picks its own kernel either way.
    """
    done = subprocess.run(
        [python, "-m", module, *arguments],
        cwd=ROOT,
        env=unforced(os.environ if environment is None else environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or "it wrote nothing").splitlines()[-1]
        raise BenchError(f"python -m {module} exited with {done.returncode}: {last}")
    return done.stdout


def parse(shape: type[T], output: str, module: str) -> T:
    """The last line of ``output``, a JSON object of this shape. Raises :class:`BenchError`."""
    last = (output.strip().splitlines() or [""])[-1]
    try:
        return TypeAdapter(shape).validate_json(last)
    except ValidationError as error:
        name = getattr(shape, "__name__", str(shape))
        raise BenchError(f"python -m {module} did not end with a {name}: {last[:LINE]}") from error
