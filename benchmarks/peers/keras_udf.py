"""Keras in Spark by ``predict_batch_udf``: what people write today; a peer in `pipeline`.

``python -m benchmarks.peers.keras_udf FOLDER SIZE WEIGHTS CACHE`` reads the photos in FOLDER/few, to
warm up, and in FOLDER/photos, writes Parquet into FOLDER, and prints a :class:`UdfRun`.
"""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import ArrayType, FloatType

from benchmarks.harness.protocol import answer
from benchmarks.peers import plain_spark
from benchmarks.peers.answers import UdfRun
from processor.network.weights import obtain

BATCH = 32  # as bare Keras

Predict = Callable[[np.ndarray], np.ndarray]  # bytes of photos to their features


def main(folder: str, size: str, weights: str, cache: str) -> None:
    obtained = obtain(weights, include_top=False, cache_dir=Path(cache))
    spark = plain_spark.start(folder)
    load = _loader(int(size), str(obtained.path), obtained.digest)
    udf = predict_batch_udf(load, return_type=ArrayType(FloatType()), batch_size=BATCH)

    def write(photos: str) -> str:
        target = f"{folder}/{photos}.parquet"
        frame = spark.read.format("binaryFile").load(f"{folder}/{photos}")
        frame.select("path", udf("content").alias("features")).write.parquet(target)
        return target

    write("few")
    warm_at = time.time()
    began = time.perf_counter()
    written = write("photos")
    seconds = time.perf_counter() - began
    photos = spark.read.parquet(written).count()
    spark.stop()
    answer(UdfRun(photos, photos / seconds, warm_at))


def _loader(size: int, weights_path: str, digest: str) -> Callable[[], Predict]:
    def load() -> Predict:  # once in each Python worker
        # Not at the top: the workers need TensorFlow, the driver does not.
        from benchmarks.peers.bare_keras import features, network

        model = network(size, weights_path, digest)

        def predict(contents: np.ndarray) -> np.ndarray:
            return features(model, size, [io.BytesIO(content) for content in contents])

        return predict

    return load


if __name__ == "__main__":
    main(*sys.argv[1:])
