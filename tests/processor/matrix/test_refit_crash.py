"""Refits that are killed (SIGKILL) at each of their steps: the matrix is the old or the new one."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from infra_scripts.embedded import EmbeddedAws
from processor.matrix import models
from processor.matrix.mirror import model_name
from processor.store import delta, lease
from tests.support.drawn_photos import photo
from tests.support.matrices import assert_csv_whole, assert_whole, matrix, put
from tests.support.world import World

ROOT = Path(__file__).resolve().parents[3]
STEPS = [
    ("processor.matrix.statistics_cache:_save", 1, "before"),
    ("processor.matrix.models:write", 1, "before"),
    ("processor.matrix.models:write", 1, "after"),
    ("processor.store.datafiles:write", 1, "before"),  # the first data file of the matrix
    ("processor.store.datafiles:write", 2, "after"),
    ("processor.store.delta:Table.commit", 1, "before"),
    ("processor.store.delta:Table.commit", 1, "after"),
    ("processor.store.objects:upload", 1, "before"),  # reduced.csv
    ("processor.store.objects:upload", 1, "after"),
]


@pytest.mark.parametrize(("what", "call", "when"), STEPS)
def test_a_killed_refit_leaves_one_whole_matrix(
    world: World,
    spark: SparkSession,
    aws: EmbeddedAws,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    call: int,
    when: str,
) -> None:
    put(world, *range(5))
    first = matrix(world, spark)
    first.update(force=True)
    first.export()
    before = set(assert_whole(world))
    put(world, 5, 6)
    world.handle(world.put("photos/L1/1.jpg", photo(50)), world.remove("photos/L2/2.jpg"))
    uri = f"s3://{world.bucket}/"

    killed = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_refit", uri, what, str(call), when],
        cwd=ROOT,
        env=aws.over(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    after = set(assert_whole(world))
    assert after in (before, set(world.features()))
    assert_csv_whole(world)

    monkeypatch.setattr(lease, "LOST_SECONDS", 0.2)
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.1)
    following = matrix(world, spark)  # as the next service does by itself
    following.update()
    following.export(wait=True)
    assert set(assert_whole(world)) == set(world.features())
    assert_csv_whole(world)

    reduced = delta.open_table(f"{uri}reduced")
    assert reduced
    reduced.vacuum(0)
    name = model_name(reduced)
    assert name
    models.sweep(world.recipe.layout.store, name, timedelta(0))
    listed = world.s3.list_objects_v2(Bucket=world.bucket)["Contents"]
    kept = {each["Key"] for each in listed if each["Key"].startswith(("reduced/", "models/pca/"))}
    assert {key for key in kept if "_delta_log" not in key} == {
        f"models/pca/{name}.npz",
        *(f"reduced/{path}" for path in reduced.paths()),
    }
    assert set(assert_whole(world)) == set(world.features())
