"""The embedded AWS: S3, SQS, CloudWatch Logs, STS and IAM on this machine, in a child process.

It is moto behind a real HTTP server, so the same code runs against it as against AWS; only the
endpoint setting differs. Its contents live in memory and are lost when it ends.
"""

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from infra_scripts.errors import EmbeddedAwsError

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60  # a cold import of moto takes up to ten


class EmbeddedAws:
    """A context manager: the embedded AWS runs inside it, and never outlives this process.

    ``port`` 0 takes a free one. ``errors`` is a file or descriptor for what the server prints when
    a request fails inside it; without it that output is discarded. ``record`` is a file that gets the
    calls, see :mod:`infra_scripts.embedded.access`.
    """

    SERVER = "infra_scripts.embedded.server"  # the module that the child runs

    def __init__(
        self,
        port: int = 0,
        region: str = "eu-west-1",
        errors: IO[bytes] | int | None = None,
        record: Path | None = None,
    ) -> None:
        self.region = region
        self.endpoint_url = ""
        self._port = port
        self._errors = errors
        self._record = record
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point AWS clients here, and hide the user's own profile."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "embedded",
            "AWS_SECRET_ACCESS_KEY": "embedded",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def over(self, environment: Mapping[str, str]) -> dict[str, str]:
        """A copy of ``environment`` with all its AWS settings replaced by :attr:`environment`.

        An ``AWS_ENDPOINT_URL_S3`` or ``AWS_PROFILE`` left in it could lead to a real account.
        """
        others = {name: environment[name] for name in environment if not name.startswith("AWS_")}
        return others | self.environment

    @property
    def pid(self) -> int:
        """The server's process id. Raises :class:`EmbeddedAwsError` if it is not running."""
        if self._process is None:
            raise EmbeddedAwsError("the embedded AWS is not running")
        return self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """Processor time, user and system, that the server has used (Linux only).

        Raises :class:`EmbeddedAwsError` if it is not running.
        """
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def start(self) -> Self:
        """Start the server and return once it answers.

        Raises :class:`EmbeddedAwsError` if it runs already, which it then continues to do, or does
        not answer within ``START_SECONDS``; no process is left behind then.
        """
        if self._process is not None:
            raise EmbeddedAwsError("the embedded AWS is already running")
        with tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.SERVER, str(self._port), *filter(None, [self._record])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output if self._errors is None else self._errors,
                cwd=ROOT,
            )
            port = self._read_port()
            if not port.isdigit():
                self.stop()
                output.seek(0)
                lines = output.read().decode(errors="replace").strip().splitlines()
                cause = lines[-1] if lines else f"no answer within {START_SECONDS} s"
                raise EmbeddedAwsError(f"the embedded AWS did not start: {cause}")
        self.endpoint_url = f"http://127.0.0.1:{port}"
        return self

    def stop(self) -> None:
        """End the server, and with it everything stored there; may be repeated."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()  # it has nothing to save
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _read_port(self) -> str:
        """The line that the server prints once it answers; empty if it ends or takes too long."""
        if self._process is None or self._process.stdout is None:
            return ""
        readable, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        return self._process.stdout.readline().decode().strip() if readable else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
