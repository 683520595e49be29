"""Peers of our PCA, each in a process of its own: ``python -m benchmarks.peers.pca NAME STORE K``.

NAME is spark_ml, spark_ml_native or sklearn. Each reads STORE/features, fits K components, and writes
key, label and coordinates as Parquet into STORE/NAME, as people write it today. Prints a
:class:`PcaRun`; its seconds begin when everything is imported and Spark has started.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyspark.ml.feature import PCA
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql.functions import col
from sklearn.decomposition import PCA as SklearnPCA

from benchmarks.harness import blas
from benchmarks.harness.protocol import answer
from benchmarks.peers import plain_spark
from benchmarks.peers.answers import PcaRun

DRIVER_MEMORY = "4g"  # with less, a million rows fail or crawl


def main(name: str, store: str, components: str) -> None:
    peers = {"spark_ml": _spark_ml, "spark_ml_native": _spark_ml_native, "sklearn": _sklearn}
    answer(peers[name](Path(store), int(components)))


def _spark_ml(store: Path, components: int) -> PcaRun:
    return _spark(store, "spark_ml", components, library="none")


def _spark_ml_native(store: Path, components: int) -> PcaRun:
    run = _spark(store, "spark_ml_native", components, library=blas.SYSTEM)
    return replace(run, kernel=blas.system_kernel())


def _spark(store: Path, name: str, components: int, *, library: str) -> PcaRun:
    netlib = " ".join(
        f"-Ddev.ludovic.netlib.{part}.nativeLib={library}" for part in ("blas", "lapack")
    )
    began = time.perf_counter()
    spark = plain_spark.start(str(store), memory=DRIVER_MEMORY, extraJavaOptions=netlib)
    started = time.perf_counter()
    rows = spark.read.parquet(str(store / "features" / "*.parquet"))
    rows = rows.select("key", "label", array_to_vector(col("features")).alias("features"))
    model = PCA(k=components, inputCol="features", outputCol="pc").fit(rows)
    fitted = time.perf_counter()
    coordinates = model.transform(rows).select(
        "key", "label", vector_to_array(col("pc"), "float32")
    )
    coordinates.toDF("key", "label", "pc").write.parquet(str(store / name))
    ended = time.perf_counter()
    spark.stop()
    return PcaRun(start=started - began, fit=fitted - started, whole=ended - started)


def _sklearn(store: Path, components: int) -> PcaRun:
    began = time.perf_counter()
    source = ds.dataset(sorted(map(str, (store / "features").glob("*.parquet"))))
    table = source.to_table(columns=["key", "label", "features"])
    features = table["features"].combine_chunks().flatten().to_numpy()
    rows = features.reshape(len(table), -1)
    table = table.drop_columns(["features"])
    pca = SklearnPCA(components, svd_solver="covariance_eigh").fit(rows)
    fitted = time.perf_counter()
    coordinates = np.ascontiguousarray(pca.transform(rows).T)
    for number, column in enumerate(coordinates, 1):
        table = table.append_column(f"pc{number}", pa.array(column))
    pq.write_table(table, store / "sklearn.parquet", compression="none", use_dictionary=False)
    whole = time.perf_counter() - began
    return PcaRun(start=0.0, fit=fitted - began, whole=whole, kernel=blas.loaded().kernel)


if __name__ == "__main__":
    main(*sys.argv[1:])
