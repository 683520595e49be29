"""PCA models: kept under their names, and deleted some time after another has replaced them."""

import time
from datetime import timedelta

from pyspark.sql import SparkSession

from processor.matrix import models
from processor.matrix.models import NamedModel
from tests.support.matrices import matrix, put
from tests.support.world import World


def test_a_lost_model_is_none(world: World) -> None:
    assert models.read(world.recipe.layout.store, "none") is None


def test_names_are_new_each_time() -> None:
    assert len({models.new_name(3) for _ in range(50)}) == 50


def test_models_replaced_long_ago_are_swept(world: World, spark: SparkSession) -> None:
    store = world.recipe.layout.store

    def names() -> list[str]:
        listed = world.s3.list_objects_v2(Bucket=world.bucket, Prefix="models/pca/")["Contents"]
        return [each["Key"].removeprefix("models/pca/").removesuffix(".npz") for each in listed]

    def wait_a_second() -> None:  # S3 records when an object was written to the second
        time.sleep(1.0)

    put(world, *range(4))
    matrix(world, spark).update()
    (first,) = names()
    wait_a_second()
    matrix(world, spark).update(force=True)
    (second,) = set(names()) - {first}
    wait_a_second()
    model = models.read(store, second)
    assert model
    models.write(store, NamedModel("interrupted", model.pca))
    assert models.sweep(store, second) == 0  # within the 30 days
    assert set(names()) == {first, second, "interrupted"}
    assert models.sweep(store, second, timedelta(seconds=30)) == 0
    wait_a_second()
    assert models.sweep(store, first, timedelta(0)) == 2  # the matrix's is kept, however old
    assert names() == [first]
