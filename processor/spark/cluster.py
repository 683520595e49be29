"""A cluster: what a session needs beside what it needs on one machine, and what its executors offer.

Executors have nothing of the driver's machine. Spark brings them our code and the compiled network; they
have Python with the packages, credentials of their own (an instance profile), and folders of their own.
Whatever differs from cluster to cluster (memory, ports, the driver's address) is in Spark's own
configuration. See docs/cluster.md.
"""

import logging
import os
import py_compile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pyspark import SparkConf, SparkContext

from common import aws, redaction
from processor.errors import SetupError
from processor.spark.resources import Slots

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("common", "ingest", "processor")  # what runs in tasks, and what it imports
SECRET = "_SPARK_AUTH_SECRET"  # noqa: S105  the variable from which Spark's daemons read it, too
_SECRET_SETTING = "spark.authenticate.secret"  # noqa: S105
FORWARDED = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
POLL_SECONDS, PATIENCE_SECONDS = 0.5, 10.0  # while there is no executor
APART_SECONDS = 0.1  # long enough that no executor runs two of the tasks that ask what it takes


def is_cluster(master: str) -> bool:
    """Whether executors are other processes, perhaps on other machines."""
    return bool(master) and not master.startswith("local")


def settings(java_options: str) -> dict[str, str]:
    """Settings of a session on a cluster, with ``java_options`` for executors.

    Nobody joins without the secret, nothing is sent or kept on a disk in the clear, and nobody is
    offered less. No credentials are sent: they would outlive their rotation.
    """
    environment = {name: os.environ[name] for name in FORWARDED if name in os.environ}
    if region := aws.region():
        environment["AWS_REGION"] = region
    environment["LC_ALL"] = os.environ["LC_ALL"]
    return {
        "spark.authenticate": "true",
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.saslFallback": "false",
        "spark.io.encryption.enabled": "true",
        "spark.executor.defaultJavaOptions": java_options,
        **{f"spark.executorEnv.{name}": value for name, value in environment.items()},
    }


def share_secret(master: str, conf: SparkConf) -> None:
    """Start Spark's JVM with ``conf``, and tell it the secret, which no process's arguments may show.

    YARN and Kubernetes make one for each application. Raises :class:`SetupError` where there is none.
    """
    SparkContext._ensure_initialized(conf=conf)
    jvm = SparkContext._jvm
    if not master.startswith("spark:") or jvm is None:
        return
    if secret := os.environ.get(SECRET):
        redaction.hide(secret)
        jvm.java.lang.System.setProperty(_SECRET_SETTING, secret)
    if not SparkConf().contains(_SECRET_SETTING):
        raise SetupError(
            f"spark.master = {master} needs the secret that its master and workers have: set {SECRET} "
            f"in this service's environment, or {_SECRET_SETTING} in Spark's own spark-defaults.conf, "
            "which only this user may read"
        )


def ship_code(context: SparkContext, folder: Path) -> None:
    """Have Spark bring our packages, from an archive in ``folder``, to executors whenever they come."""
    context.addPyFile(str(_archive(folder)))


def _archive(folder: Path) -> Path:
    """A zip archive of our packages, with each module compiled, or each process would do that anew."""
    archive, compiled = folder / "fruits.zip", folder / "compiled.pyc"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for package in PACKAGES:
            for source in sorted((ROOT / package).rglob("*.py")):
                name = str(source.relative_to(ROOT))
                mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
                py_compile.compile(
                    str(source), str(compiled), name, doraise=True, invalidation_mode=mode
                )
                packed.write(source, name)
                packed.write(compiled, f"{name}c")
    return archive


@dataclass(slots=True)
class Executors:
    """The executors of a cluster: the tasks that they take at a time, as of now.

    One half of all slots is ingestion's. Background tasks are never more than the other half, so that
    no task of ingestion waits for one of them to end. ``takes`` runs on each machine, and returns how
    many tasks of ingestion fit it.
    """

    context: SparkContext
    takes: Callable[[], int] = lambda: 1
    _asked: frozenset[str] = frozenset()
    _least: int = field(default=1)

    def ingestion(self) -> Slots:
        """The tasks of ingestion that may run at a time; asks executors that are new."""
        slots = self._slots()
        if not slots.keys() <= self._asked:
            self._least = min(self._ask(len(slots)))
            self._asked = frozenset(slots)
        total = sum(slots.values())
        tasks = max(1, min(total - _reserved(total), len(slots) * self._least))
        return Slots(tasks, -(-tasks // len(slots)))

    def background(self) -> int:
        """How many tasks of one background job may run at a time, beside a job of a single task.

        Maintenance runs two jobs at once at most, of which one is that of the CSV.
        """
        return max(1, _reserved(sum(self._slots().values())) - 1)

    def _slots(self) -> dict[str, int]:
        """Of each executor, by its name, the tasks that it is given at a time; waits for the first."""
        waited = 0.0
        while not (slots := self._listed()):
            if waited == PATIENCE_SECONDS:
                log.warning(
                    "no executor has come: does another application hold the cluster's cores?"
                )
            time.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
        return slots

    def _listed(self) -> dict[str, int]:
        listed = self.context._jsc.sc().statusStore().executorList(True)  # noqa: FBT003
        every = [listed.apply(n) for n in range(listed.size())]
        return {each.id(): each.totalCores() for each in every if each.id() != "driver"}

    def _ask(self, executors: int) -> list[int]:
        takes = self.takes

        def answer(_: int) -> int:
            time.sleep(APART_SECONDS)
            return takes()

        return self.context.parallelize(range(executors), executors).map(answer).collect()


def _reserved(slots: int) -> int:
    """The slots of so many that background tasks may take: half, if possible two."""
    return max(slots // 2, min(2, slots - 1))
