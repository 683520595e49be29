"""The class archive: Spark's classes as the JVM holds them in memory, in a file that later JVMs map.

With it the service starts 4 s sooner, because its JVM need not read, verify and link 13,000 classes
(dynamic class-data sharing, JEP 350). ``./run setup`` makes it, beside the installed packages, by
``python -m processor.spark.class_archive``. The JVM ignores one that does not fit.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition

from processor.errors import JavaError
from processor.spark import session

MAKING_SECONDS = 120  # it takes half a minute


def main() -> int:
    """Make the archive for this Java and this Spark, unless it is there."""
    parser = argparse.ArgumentParser(
        prog="python -m processor.spark.class_archive", description=main.__doc__
    )
    parser.parse_args()
    try:
        path = session.class_archive(session.check_java())
        if not path.exists():
            make(path)
    except (JavaError, OSError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def make(path: Path) -> None:
    """Write the archive, by a session that does what the service does; in this process, once.

    Earlier ones in that folder are deleted. Raises OSError if it cannot be written, ``TimeoutExpired``
    if the JVM does not end, JavaError without Java.
    """
    for outdated in path.parent.glob("spark-*.jsa"):
        outdated.unlink()
    with tempfile.TemporaryDirectory(prefix="making-", dir=path.parent) as folder:
        made = Path(folder, path.name)
        # Without -Xlog:disable, the JVM names each class that it cannot archive.
        options = f"-Xlog:disable -XX:ArchiveClassesAtExit={made}"
        _load_classes(session.start("", "1g", Path(folder), options), Path(folder))
        made.replace(path)


def _load_classes(spark: SparkSession, folder: Path) -> None:
    """Run a micro-batch and a task, then end the session and wait for its JVM, which archives now."""

    def handle(rows: DataFrame, _: int) -> None:
        rows.collect()
        spark.sparkContext.parallelize(range(2), 2).map(str).collect()

    spark.dataSource.register(_Source)
    rows = spark.readStream.format(_Source.name()).load()
    checkpoint = (folder / "checkpoint").as_uri()
    writer = rows.writeStream.foreachBatch(handle).option("checkpointLocation", checkpoint)
    query = writer.start()
    while not query.lastProgress:
        query.awaitTermination(1)
    query.stop()
    gateway = spark.sparkContext._gateway
    spark.stop()
    if gateway is not None:
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(MAKING_SECONDS)


class _Source(DataSource):
    """One row."""

    @classmethod
    def name(cls) -> str:
        return "one-row"

    def schema(self) -> str:
        return "number int"

    def streamReader(self, schema: object) -> "_Reader":
        return _Reader()


class _Reader(DataSourceStreamReader):
    def initialOffset(self) -> dict[str, int]:
        return {"rows": 0}

    def latestOffset(self) -> dict[str, int]:  # type: ignore[override]
        return {"rows": 1}

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> list[InputPartition]:
        return [InputPartition(1)]

    def read(self, partition: InputPartition) -> Iterator[tuple[int]]:
        yield (1,)


if __name__ == "__main__":
    sys.exit(main())
