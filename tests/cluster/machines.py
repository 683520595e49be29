"""Machines of a standalone cluster, by Spark's own daemons: a master, and workers.

As root, each worker is as far from the driver as one machine allows: another user, other folders, one
core, a PID namespace that dies at once, and a mount namespace with Python and its packages where the
driver has them, but without the driver's checkout.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark

from infra_scripts.embedded import EmbeddedAws

ROOT = Path(__file__).resolve().parents[2]
USERS = ("daemon", "games", "nobody")  # Debian has them; Hadoop needs a name for each id
SECRET = "_SPARK_AUTH_SECRET"
SECURITY = (
    "-Dspark.authenticate=true -Dspark.network.crypto.enabled=true "
    "-Dspark.network.crypto.saslFallback=false"
)
DAEMON = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"
START_SECONDS = 300
# $1: the staging folder, $2: what to hide, $3: what is seen all the same; then the command.
NAMESPACE = """set -e
stage=$1 hidden=$2 kept=$3; shift 3
n=0; for each in $kept; do n=$((n+1)); mkdir -p $stage/$n; mount --bind $each $stage/$n; done
for each in $hidden; do mount -t tmpfs -o mode=755 tmpfs $each; done
n=0; for each in $kept; do n=$((n+1)); mkdir -p $each; mount --bind $stage/$n $each; done
exec "$@"
"""


class Machine:
    """One daemon, with all that it starts."""

    def __init__(
        self, folder: Path, user: str, command: list[str], environment: dict[str, str]
    ) -> None:
        self.folder, self.user = folder, user
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """As if its power had failed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def finished(self) -> int:
        """Tasks of its executors so far."""
        return self._told("Finished task")

    def running(self) -> int:
        """Tasks of its executors now."""
        return self._told("Running task") - self.finished()

    def _told(self, what: str) -> int:
        logs = (self.folder / "work").rglob("stderr")
        return sum(
            each.read_text(errors="replace").count(f"INFO Executor: {what}") for each in logs
        )

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


class Cluster:
    """A master, and workers that are added; a context manager."""

    def __init__(self, folder: Path, aws: EmbeddedAws) -> None:
        self.secret = secrets.token_hex(16)
        self.isolated = os.geteuid() == 0
        self._folder, self._aws = folder, aws
        folder.chmod(0o755)
        self._home = folder / "spark"  # without the zip archive of PySpark, see session._home
        self._home.mkdir()
        for part in ("bin", "jars"):
            (self._home / part).symlink_to(Path(pyspark.__file__).parent / part)
        self._port = _free_port()
        self.url = f"spark://127.0.0.1:{self._port}"
        self.workers: list[Machine] = []
        self._master = self._start_master()

    @property
    def driver_environment(self) -> dict[str, str]:
        """What a driver on this cluster needs."""
        return {
            "FRUITS_SPARK__MASTER": self.url,
            SECRET: self.secret,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
        }

    def add_worker(self, slots: int = 2) -> Machine:
        """A machine of one core that offers so many slots."""
        number = len(self.workers)
        user = USERS[number] if self.isolated else pwd.getpwuid(os.geteuid()).pw_name
        folder = self._folder / f"worker-{number + 1}"
        for part in (folder, folder / "work", folder / "tmp"):
            part.mkdir()
            part.chmod(0o700)
            if self.isolated:
                shutil.chown(part, user)
        daemon = "org.apache.spark.deploy.worker.Worker"
        command = [
            *(str(self._home / "bin" / "spark-class"), daemon, "--host", "127.0.0.1"),
            *("--webui-port", "0", "--cores", str(slots), "--memory", "1g"),
            *("--work-dir", str(folder / "work"), self.url),
        ]
        environment = self._environment(folder) | self._aws.environment
        worker = Machine(folder, user, self._apart(command, number, user), environment)
        self.workers.append(worker)
        self._await(worker, "Successfully registered with master")
        return worker

    def _apart(self, command: list[str], number: int, user: str) -> list[str]:
        cores = sorted(os.sched_getaffinity(0))
        pinned = ["taskset", "-c", str(cores[number % len(cores)]), *command]
        if not self.isolated:
            return pinned
        kept = f"{sys.base_prefix} {sys.prefix}"
        hidden = f"{_closed(Path(sys.base_prefix))} {ROOT}"
        (stage := self._folder / f"stage-{number}").mkdir()
        ids = pwd.getpwnam(user)
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"),
            *("bash", "-c", NAMESPACE, "bash", str(stage), hidden, kept),
            *("setpriv", f"--reuid={ids.pw_uid}", f"--regid={ids.pw_gid}", "--clear-groups"),
            *pinned,
        ]

    def _start_master(self) -> Machine:
        (folder := self._folder / "master").mkdir()
        command = [
            *(str(self._home / "bin" / "spark-class"), "org.apache.spark.deploy.master.Master"),
            *("--host", "127.0.0.1", "--port", str(self._port), "--webui-port", "0"),
        ]
        master = Machine(folder, "root", command, self._environment(folder))
        self._await(master, "I have been elected leader")
        return master

    def _environment(self, folder: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            **{name: os.environ[name] for name in ("JAVA_HOME",) if name in os.environ},
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "SPARK_HOME": str(self._home),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(folder / "tmp"),
            "SPARK_DAEMON_JAVA_OPTS": f"{DAEMON} {SECURITY} -Djava.io.tmpdir={folder}/tmp",
            SECRET: self.secret,
        }

    def _await(self, machine: Machine, message: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while message not in machine.log():
            if time.monotonic() > deadline or machine._process.poll() is not None:
                raise RuntimeError(f"{machine.folder.name} did not start: {machine.log()[-2000:]}")
            time.sleep(0.1)

    def close(self) -> None:
        for each in (*self.workers, self._master):
            each.kill()


@contextlib.contextmanager
def cluster(folder: Path, aws: EmbeddedAws) -> Iterator[Cluster]:
    """A master without workers; all that is added ends with it."""
    made = Cluster(folder, aws)
    try:
        yield made
    finally:
        made.close()


def _closed(path: Path) -> str:
    """The topmost folder above ``path`` that other users cannot enter; empty if they can enter all."""
    for each in reversed(path.resolve().parents):
        if not each.stat().st_mode & 0o001:
            return str(each)
    return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
