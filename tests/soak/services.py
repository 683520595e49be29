"""A service under supervision: started again at once whenever it ends, as systemd would do it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.soak.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
SERVICE = (sys.executable, "-m", "processor", "run")
RUN = "SOAK_RUN"  # the variable by which all processes of a run are found, whoever is their parent
RESTART_SECONDS = 0.1  # systemd's default
ORPHAN_SECONDS = 60.0
ERRORS = 4000  # characters of stderr that are kept


@dataclass
class Run:
    """One run of a service, from its start to its end."""

    service: str
    name: str
    started_at: float = field(default_factory=time.monotonic)
    process: subprocess.Popen[bytes] | None = None
    receiving_at: float | None = None
    blows: list[str] = field(default_factory=list)  # the kills that it got, by kind
    status: int | None = None
    line: str = ""  # the last of stderr


class Supervised:
    """One service with its own folder; its runs, one after the other, in a thread of the soak."""

    def __init__(
        self,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        proxy: Proxy,
        command: Sequence[str] = SERVICE,
    ) -> None:
        self.name = name
        self._command = command
        self.work_dir = folder / name / "work"
        self.log = folder / f"{name}.log"
        self._errors = folder / f"{name}.errors"  # no pipe, which an orphan would hold open
        self.ends: list[Run] = []
        self.orphans: list[str] = []
        self._environment = dict(environment)
        self._proxy = proxy
        self._stopping = threading.Event()
        self._run: Run | None = None
        self._changed = threading.Condition()
        self._watches: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._supervise, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> Run | None:
        """SIGTERM, no restart; the last run, which is killed after so many seconds."""
        with self._changed:
            self._stopping.set()
            run = self._run
        if run and run.process:
            run.process.terminate()
        self._thread.join(seconds)
        if self._thread.is_alive():
            for each in self.family():
                with suppress(psutil.Error):
                    each.kill()
            self._thread.join()
        for watch in self._watches:
            watch.join()
        return run

    @property
    def run(self) -> Run | None:
        """The present one, if there is one."""
        with self._changed:
            return self._run if self._run and self._run.status is None else None

    def note_receiving(self, name: str) -> Run | None:
        """A port has seen the first ReceiveMessage; the run, if it is one of ours."""
        run = self._run
        if run and run.name == name:
            run.receiving_at = time.monotonic()
            return run
        return None

    def family(self) -> list[psutil.Process]:
        """All living processes of the present run, the driver first."""
        run = self.run
        return _processes_of(run.name) if run else []

    def delete_work_dir(self) -> None:
        shutil.rmtree(self.work_dir, ignore_errors=True)

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            run = self._started()
            process = run.process
            assert process
            process.wait()
            errors = self._errors.read_bytes()[-ERRORS:].decode(errors="replace")
            lines = errors.strip().splitlines()
            with self._changed:
                run.status, run.line = process.returncode, lines[-1] if lines else ""
                self.ends.append(run)
            self._proxy.close(run.name)
            watch = threading.Thread(target=self._watch_orphans, args=(run,), daemon=True)
            watch.start()
            self._watches.append(watch)
            self._stopping.wait(RESTART_SECONDS)

    def _started(self) -> Run:
        run = Run(self.name, f"{self.name}-{uuid.uuid4().hex[:8]}")
        url = self._proxy.open(run.name)
        environment = {**os.environ, **self._environment, "AWS_ENDPOINT_URL": url, RUN: run.name}
        with self._changed, self.log.open("ab") as log, self._errors.open("wb") as errors:
            log.write(json.dumps({"soak": "started", "run": run.name}).encode() + b"\n")
            log.flush()
            run.process = subprocess.Popen(
                _guarded(self._command),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
            )
            self._run = run
            if self._stopping.is_set():
                run.process.terminate()
        return run

    def _watch_orphans(self, run: Run) -> None:
        """What is left of a run after a minute is an orphan; it is killed, so that it harms no other."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while left := _processes_of(run.name):
            if time.monotonic() > deadline:
                for each in left:
                    with suppress(psutil.Error):
                        words = " ".join(each.cmdline())[-120:]
                        self.orphans.append(f"{run.name} {run.blows}: {each.pid} {words}")
                        each.kill()
                return
            time.sleep(1)


def _guarded(command: Sequence[str]) -> list[str]:
    """Killed by the kernel where the soak itself was, because its AWS is gone with it."""
    guard = shutil.which("setpriv")
    return [guard, "--pdeathsig", "KILL", *command] if guard else list(command)


def _processes_of(run: str) -> list[psutil.Process]:
    """By their environment, which they inherit; the oldest first."""
    wanted = f"{RUN}={run}".encode()
    found = []
    for each in psutil.process_iter(["create_time", "status"]):
        if each.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        with suppress(OSError):
            environment = Path(f"/proc/{each.pid}/environ").read_bytes()
            if wanted in environment.split(b"\0"):
                found.append(each)
    return sorted(found, key=lambda each: each.info["create_time"])
