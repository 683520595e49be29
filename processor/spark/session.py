"""The Spark session, on this machine or a cluster, and the Java that it needs."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyspark
from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from processor.errors import NOTHING_LOST, JavaError, SetupError, cause_in
from processor.spark import cluster, scratch
from processor.spark.resources import cores

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = Path(pyspark.__file__).resolve().parent  # a whole home of Spark
JAVA = (17, 21)
RETAINED = (
    20  # jobs, stages, tasks, queries that Spark remembers for its UI, even where that is off
)
IDLE_EVENT_MS = 3000  # how often an idle query says that it plans; see processor.service.watchdog
LONGEST_SOCKET_FOLDER = 60  # characters; Linux allows 107 in a socket's path, Spark adds 43
PLAIN = re.compile(r"[\w./-]+", re.ASCII)  # a folder whose name may be in a JVM's class path
UNUSABLE = set('",\\\n')  # in a folder's name: Spark splits lists and options at them
OTHERS = ("SPARK_", "PYSPARK_", "HADOOP_")  # how variables begin that are meant for another Spark
JAVA_VARIABLES = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")

# The JVM only coordinates; Python computes. Without the optimising compiler and a multi-threaded
# garbage collector it takes half the CPU time until the first photos are done, and 100 MB less.
SERIAL_JVM = "-XX:+UseSerialGC"
LEAN_JVM = (
    f"-XX:TieredStopAtLevel=1 {SERIAL_JVM}"  # on a cluster it would encrypt 2.5 times as slowly
)
# Stacks on SIGQUIT are for the log, so for stderr; and nothing is left in /tmp by a JVM that is killed.
QUIET_JVM = "-XX:+DisplayVMOutputToStderr -XX:-UsePerfData"

MALLOC = ":".join(
    f"glibc.malloc.{setting}"
    for setting in ("hugetlb=1", f"mmap_threshold={4 << 20}", f"trim_threshold={8 << 20}")
)


def check_java() -> str:
    """The version of Java, like 17.0.15.

    Raises :class:`JavaError` unless it is 17 or 21, or if Hadoop's part of Spark could not log in.
    """
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError as error:
        raise JavaError(
            f"Spark needs a name for the user id {os.geteuid()}: give it an entry in /etc/passwd, or "
            "run this as a user that has one"
        ) from error
    fix = "install it (apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(str(Path(home, "bin", "java")) if home else "java")
    if java is None:
        where = f"under JAVA_HOME={home}" if home else "on the PATH"
        raise JavaError(f"Spark needs Java 17 or 21, but there is no Java {where}: {fix}")
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "((\d+)[^"]*)', done.stderr)
    if not found or int(found[2]) not in JAVA:
        reported = (done.stderr.splitlines() or ["nothing"])[0]
        raise JavaError(f"Spark needs Java 17 or 21, but {java} reports {reported}: {fix}")
    return found[1]


def class_archive(java: str) -> Path:
    """Where :mod:`.class_archive` makes the archive for this version of Java and this Spark."""
    return Path(sys.prefix, f"spark-{pyspark.__version__}-java-{java}.jsa")


def worker_environment() -> dict[str, str]:
    """Variables for processes that run the network: how malloc uses memory, unless it is set already.

    It asks for huge pages, if Linux has them; this makes the compiled engines 2 to 5 % and a refit 3 %
    faster and takes no more memory. It also returns what is freed. By default each thread may keep a
    large photo's memory: 16 threads, of which one at a time decoded a photo of 1.5 GB, kept 14 GB.
    """
    return {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", MALLOC)}


def start(
    master: str,
    driver_memory: str,
    work_dir: Path,
    java_options: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> SparkSession:
    """Start the service's session; with an empty ``master`` on this machine, with two slots a core.

    One slot is for ingestion, the other for background tasks (:mod:`processor.spark.background`).
    ``java_options`` are set instead of the class archive, ``settings`` of Spark beside ours. Its UI is
    off, because nothing should listen that need not. Also sets variables in ``os.environ`` that Python
    workers need, and on this machine drops those of another Spark. Raises :class:`JavaError`, and
    :class:`SetupError` if Spark cannot use the folder.
    """
    archive = class_archive(check_java())
    _check(work_dir.resolve())
    folder = scratch.claim(work_dir / "spark")
    local = not cluster.is_cluster(master)
    lean = LEAN_JVM if local else SERIAL_JVM
    _shed_others(local=local)
    # The class archive is made with the installed jars: a JVM uses it while those are there.
    # YARN and Kubernetes want all of Spark's home.
    whole = not (local or master.startswith("spark:")) or java_options is not None
    whole = whole or not PLAIN.fullmatch(str(folder))
    os.environ["SPARK_HOME"] = str(INSTALLED if whole else _home(folder))
    if java_options is None:
        java_options = f'"-XX:SharedArchiveFile={archive}"' if archive.exists() else ""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part
    )
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # not whatever PATH calls python3
    builder = (
        SparkSession.builder.appName("fruits")
        .master(master or f"local[{2 * cores()}]")
        .config("spark.driver.memory", driver_memory)
        .config(
            "spark.driver.extraJavaOptions",
            f"{lean} {QUIET_JVM} {_log4j(work_dir)} {_java_folder(folder)} {java_options}",
        )
        .config("spark.log.level", "ERROR")
        # Checkpoints without files of checksums: half as many files a micro-batch.
        .config(
            "spark.hadoop.fs.AbstractFileSystem.file.impl", "org.apache.hadoop.fs.local.RawLocalFs"
        )
        .config("spark.scheduler.mode", "FAIR")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.streaming.stopTimeout", "10s")
        .config("spark.sql.streaming.noDataProgressEventInterval", IDLE_EVENT_MS)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
    )
    for history in ("ui.retainedJobs", "ui.retainedStages", "ui.retainedTasks"):
        builder = builder.config(f"spark.{history}", RETAINED)
    builder = builder.config("spark.sql.ui.retainedExecutions", RETAINED)
    builder = _sockets(builder, folder, local=local).config("spark.local.dir", str(folder))
    if local:
        builder = builder.config("spark.driver.host", "127.0.0.1").config(
            "spark.driver.bindAddress", "127.0.0.1"
        )
    else:
        builder = builder.config(map=dict(cluster.settings(SERIAL_JVM)))
    builder = builder.config(map=dict(settings or {}))
    try:
        with _temporary_files_in(folder):
            if not local:
                cluster.share_secret(master, SparkConf().setAll(list(builder._options.items())))
            session = builder.getOrCreate()
    except PySparkRuntimeError as error:
        given = "".join(f"; {n}={os.environ[n]}" for n in JAVA_VARIABLES if n in os.environ)
        raise JavaError(f"Spark's Java did not start, the log says why{given} ({error})") from error
    except Py4JJavaError as error:
        if local:
            raise
        raise SetupError(
            f"spark.master = {master} cannot be used: it does not answer, or has another secret than "
            f"this service ({cause_in(str(error.java_exception))})"
        ) from error
    if not local:
        cluster.ship_code(session.sparkContext, folder)
    # A different environment gives the Python workers of our tasks a separate pool, so those that hold
    # a network are not shared with the source's readers.
    session.sparkContext.environment |= {"FRUITS_TASKS": "1", **worker_environment()}
    return session


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """PySpark's own, which stay where they are if it is killed while it waits for its JVM."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _check(folder: Path) -> None:
    found = UNUSABLE & set(str(folder))
    if found:
        raise SetupError(
            f"Spark cannot use {folder}: choose a service.work_dir without {min(found)!r}"
        )


def _shed_others(*, local: bool) -> None:
    """Keep what a login shell says of another Spark away from ours; a cluster's configuration stays."""
    for name in list(os.environ):
        if local and name.startswith(OTHERS):
            del os.environ[name]
    # Files may have any names; and the kernel's errors are English in every log.
    os.environ["LC_ALL"] = "C.UTF-8"


def _home(folder: Path) -> Path:
    """A home of Spark without its zip archive of PySpark, which its Python processes would import.

    They import the installed one instead. A module in a zip archive is compiled anew by each process,
    which took six seconds of a core at a start. To the class archive these jars are the installed ones.
    """
    home = folder / "home"
    home.mkdir()
    for part in ("bin", "jars"):
        (home / part).symlink_to(INSTALLED / part)
    return home


def _sockets(builder: SparkSession.Builder, folder: Path, *, local: bool) -> SparkSession.Builder:
    """Have each JVM and its Python processes talk through Unix sockets.

    TCP delays every task and every collect() by 40 ms: Nagle's algorithm meets delayed
    acknowledgements. The sockets of an executor are in the folder for temporary files of its JVM.
    """
    if len(str(folder)) > LONGEST_SOCKET_FOLDER:
        return builder
    builder = builder.config("spark.python.unix.domain.socket.enabled", "true")
    return builder.config("spark.python.unix.domain.socket.dir", str(folder)) if local else builder


def jvm_id() -> int:
    """The process id of this process's JVM; 0 without one."""
    gateway = SparkContext._gateway
    return gateway.proc.pid if gateway and gateway.proc else 0


def jvm_end() -> str | None:
    """How this process's JVM ended, as a fault of the service; None while it lives, or without one."""
    gateway = SparkContext._gateway
    if gateway is None or gateway.proc is None:
        return None
    try:
        status = gateway.proc.wait(1)  # its sockets close a moment before it has ended
    except subprocess.TimeoutExpired:
        return None
    how = f"with status {status}"
    if status < 0:
        how = f"by {signal.Signals(-status).name}"
    hint = " (from the out-of-memory killer?)" if -status == signal.SIGKILL else ""
    return f"Spark's JVM ended {how}{hint}: {NOTHING_LOST}"


def _java_folder(folder: Path) -> str:
    """The JVM's option for where temporary files go: Spark's artifacts, sockets, native libraries."""
    return f'"-Djava.io.tmpdir={folder}"'


def _log4j(work_dir: Path) -> str:
    """The JVM's option for logging errors only; Spark's warnings are about what we do on purpose."""
    file = work_dir / "log4j2.properties"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "rootLogger.level = error\n"
        "rootLogger.appenderRef.stderr.ref = stderr\n"
        "appender.stderr.type = Console\n"
        "appender.stderr.name = stderr\n"
        "appender.stderr.target = SYSTEM_ERR\n"
        "appender.stderr.layout.type = PatternLayout\n"
        "appender.stderr.layout.pattern = %p %c: %m%n%ex\n"
    )
    return f"-Dlog4j2.configurationFile={file.resolve().as_uri()}"  # in which no blank is left
