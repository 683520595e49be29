"""The session: what its JVM and the Python workers of its tasks are started with."""

import os
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from processor.spark import session
from tests.support.traffic import until


def test_workers_ask_for_huge_pages_and_return_what_they_free(spark: SparkSession) -> None:
    def tunables(_: int) -> str | None:
        return os.environ.get("GLIBC_TUNABLES")

    assert spark.sparkContext.parallelize([0], 1).map(tunables).collect() == [
        os.environ.get("GLIBC_TUNABLES", session.MALLOC)
    ]


def test_workers_import_the_installed_pyspark(spark: SparkSession) -> None:
    """Not Spark's zip archive of it, whose modules each of them would compile."""

    def origin(_: int) -> str:
        return pyspark.__file__

    found = spark.sparkContext.parallelize([0], 1).map(origin).collect()
    assert found == [pyspark.__file__]


def test_the_jvm_maps_the_class_archive(spark: SparkSession) -> None:
    """From a home of Spark that has only links to the jars with which the archive was made."""
    archive = session.class_archive(session.check_java())
    if not archive.exists():
        pytest.skip(f"there is no {archive.name}: ./run setup makes it")
    assert str(archive.resolve()) in Path(f"/proc/{session.jvm_id()}/maps").read_text()


def test_workers_are_reached_by_sockets_that_only_this_user_can_open(spark: SparkSession) -> None:
    def sockets(_: int) -> tuple[set[str], set[str]]:
        """The inodes of this worker's sockets, and those of all Unix sockets."""
        links = {str(e.readlink()) for e in Path("/proc/self/fd").iterdir() if e.is_symlink()}
        own = {link[8:-1] for link in links if link.startswith("socket:[")}
        lines = Path("/proc/net/unix").read_text().splitlines()[1:]
        return own, {line.split()[6] for line in lines}

    ((own, unix),) = spark.sparkContext.parallelize([0], 1).map(sockets).collect()
    assert own
    assert own <= unix
    folder = spark.sparkContext.getConf().get("spark.python.unix.domain.socket.dir")
    assert folder
    assert Path(folder).stat().st_mode & 0o077 == 0


def test_temporary_files_of_spark_are_where_the_next_start_sweeps_them(spark: SparkSession) -> None:
    """Nothing is in /tmp: neither what Spark makes nor the JVM's own statistics."""
    context = spark.sparkContext
    folder = Path(context.getConf().get("spark.local.dir", "none"))
    assert context._jvm
    assert context._jvm.java.lang.System.getProperty("java.io.tmpdir") == str(folder)
    assert folder.parent.name == "spark"
    gateway = context._gateway
    assert gateway
    pid = gateway.proc.pid
    mapped = Path(f"/proc/{pid}/maps").read_text()
    assert f"{folder}/liblz4-java" in mapped
    assert "hsperfdata" not in mapped
    assert session.jvm_end() is None


def test_what_sparks_interface_would_show_is_soon_forgotten(spark: SparkSession) -> None:
    """It is off; by default Spark remembers the last 1,000 jobs, stages and queries all the same."""
    context = spark.sparkContext
    for _ in range(3 * session.RETAINED):
        context.parallelize([0], 1).count()
    known = context.statusTracker().getJobIdsForGroup
    until(lambda: len(known()) <= 2 * session.RETAINED)


def test_a_folder_whose_name_is_too_long_for_sockets_is_not_used_for_them(tmp_path: Path) -> None:
    builder = session._sockets(SparkSession.Builder(), tmp_path / ("x" * 80), local=True)
    assert "spark.python.unix.domain.socket.enabled" not in builder._options


def test_the_jvm_maps_the_class_archive_that_setup_made(spark: SparkSession) -> None:
    archive = session.class_archive(session.check_java())
    assert archive.exists(), "run ./run setup"
    gateway = spark.sparkContext._gateway
    assert gateway
    assert str(archive.resolve()) in Path(f"/proc/{gateway.proc.pid}/maps").read_text()
