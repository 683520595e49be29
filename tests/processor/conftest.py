"""Fixtures of the processor's tests: a bucket, small networks, photos to put in, the world."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from common.aws import forget
from infra_scripts.embedded import EmbeddedAws
from processor.network import engines
from processor.network.spec import NetworkSpec
from processor.network.weights import Weights, obtain
from processor.network.weights_file import write
from tests.support.drawn_weights import keras_model, random_arrays, reference_digest
from tests.support.networks import ready
from tests.support.two_services import Services
from tests.support.world import World


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Random weights, without the top."""
    return obtain("random:7", include_top=False, cache_dir=tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def spec(weights: Weights) -> NetworkSpec:
    """A quick VGG-16: random weights, 32 px, one thread."""
    return NetworkSpec(str(weights.path), weights.digest, "avg_pool", 32, threads=1, batch_size=8)


@pytest.fixture(scope="module")
def unloaded() -> Iterator[None]:
    """Unload a module's networks after it, because twenty take a gigabyte."""
    yield
    engines._loaded.clear()


@pytest.fixture(scope="module")
def tensorflow(unloaded: None, weights: Weights) -> NetworkSpec:
    return ready(weights, None, "tensorflow", batch_size=4)


@pytest.fixture(scope="module")
def ncnn(unloaded: None, weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> NetworkSpec:
    return ready(weights, tmp_path_factory.mktemp("compiled"), "ncnn", batch_size=4)


@pytest.fixture(scope="module")
def winograd(
    unloaded: None, weights: Weights, tmp_path_factory: pytest.TempPathFactory
) -> NetworkSpec:
    return ready(weights, tmp_path_factory.mktemp("compiled"), "winograd", batch_size=4)


@pytest.fixture
def bucket(aws: EmbeddedAws) -> Iterator[str]:
    """A new, empty bucket."""
    forget()
    name = f"photos-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region}
    )
    yield name
    forget()


@pytest.fixture
def world(bucket: str, spec: NetworkSpec, tmp_path: Path) -> World:
    return World(bucket, spec, tmp_path)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    opened = Services(tmp_path)
    yield opened
    for store in opened.stores:
        store.close()


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """One network in every container, and its digest."""
    folder = tmp_path_factory.mktemp("saved")
    model, headed = keras_model(), keras_model(head=True)
    arrays = list(random_arrays(7))
    for each in (model, headed):
        for name, array in arrays:
            layer, part = name.split("/")
            getattr(each.get_layer(layer), part).assign(array)
    model.save_weights(folder / "plain.weights.h5")
    model.save(folder / "plain.h5")
    model.save(folder / "plain.keras")
    headed.save_weights(folder / "headed.weights.h5")
    headed.save(folder / "headed.h5")
    headed.save(folder / "headed.keras")
    write(folder / "plain.npz", arrays, include_top=False, origin="test")
    yield folder, reference_digest(arrays)
    shutil.rmtree(folder)


@pytest.fixture
def tidy(tmp_path):
    """Delete the test's folder: pytest keeps those of three runs, and here each has gigabytes."""
    yield
    shutil.rmtree(tmp_path)
