"""All engines against Keras' own VGG16, layer by layer, photo by photo; and how networks are loaded."""

import gc
import pickle
import shutil
import threading
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.errors import NetworkError
from processor.network import engines
from processor.network.engines import load
from processor.network.spec import LAYERS, NetworkSpec
from processor.network.weights import Weights, obtain
from processor.network.weights_file import digest_of, layout, write
from tests.support.networks import SIZE, by_keras, difference, photos, ready


@pytest.fixture(scope="module", params=["tensorflow", "ncnn", "winograd"])
def pooled(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def whole_weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    yield obtain("random:7", include_top=True, cache_dir=folder)
    shutil.rmtree(folder)


# Agreement


@pytest.mark.parametrize("layer", ["avg_pool", "max_pool"])
@pytest.mark.parametrize("size", [32, 33, SIZE, 95, 100])
def test_pooled_layers_agree_with_keras(weights, pooled, layer, size):
    pixels = photos(5, size)
    found = load(replace(pooled, layer=layer, input_size=size)).features(pixels)
    wanted = by_keras(weights.path, 5, size, layer)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape == (5, LAYERS[layer])
    assert difference(found, wanted).max() < 1e-5
    assert difference(found[1:], found[:-1]).min() > 1e-2  # different photos differ at all


@pytest.mark.parametrize("engine", ["tensorflow", "ncnn", "winograd"])
def test_fc2_agrees_with_keras(whole_weights, tmp_path, engine):
    pixels = photos(2, 224)
    wanted = by_keras(whole_weights.path, 2, 224, "fc2")
    gc.collect()  # two networks of 0.5 GB are enough
    whole = ready(whole_weights, tmp_path, engine, layer="fc2", input_size=224)
    try:
        found = load(whole).features(pixels)
        assert found.shape == (2, 4096)
        assert difference(found, wanted).max() < 1e-5
        assert difference(found[1:], found[:-1]).min() > 1e-2
    finally:
        engines._loaded.clear()
        gc.collect()
        shutil.rmtree(tmp_path)


def test_random_weights_neither_fade_nor_explode(pooled):
    features = load(pooled).features(photos(8))
    assert 1 < features.mean() < 1000


# Independence of the batch


@cache
def by_four(network):
    """The features of 33 photos, in batches of four."""
    assert network.batch_size == 4
    return load(network).features(photos(33))


@cache
def one_by_one(network):
    """The features of ten photos, each computed alone."""
    return np.concatenate([load(network).features(each[None]) for each in photos(10)])


@pytest.mark.parametrize("batch_size", [0, 1, 3, 8, 32])
def test_features_do_not_depend_on_the_batch_size(pooled, batch_size):
    found = load(replace(pooled, batch_size=batch_size)).features(photos(33))
    assert difference(found, by_four(pooled)).max() < 1e-5


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=13))
def test_features_do_not_depend_on_the_other_photos_or_the_order(pooled, order):
    found = load(pooled).features(photos(10)[order])
    assert difference(found, one_by_one(pooled)[order]).max() < 1e-5


def test_no_photos_give_no_features(pooled):
    found = load(pooled).features(photos(0))
    assert found.shape == (0, 512)
    assert found.dtype == np.float32


def test_pixels_may_be_read_only_and_strided(pooled):
    pixels = photos(3)
    flipped = np.flip(pixels, axis=2)
    flipped.flags.writeable = False
    wanted = load(pooled).features(np.ascontiguousarray(flipped))
    assert np.array_equal(load(pooled).features(flipped), wanted)


@pytest.mark.parametrize("engine", ["ncnn", "winograd"])
def test_other_python_threads_run_while_a_compiled_engine_computes(request, engine):
    """They fetch and decode photos."""
    network = load(request.getfixturevalue(engine))
    pixels = photos(64)
    began = time.monotonic()
    thread = threading.Thread(target=network.features, args=(pixels,))
    thread.start()
    ticks = 0
    while thread.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert ticks > (time.monotonic() - began) / 0.1


# Loading


def test_a_network_is_loaded_once_by_all_threads(pooled, monkeypatch):
    built, found = [], []

    def build(wanted):
        built.append(wanted)
        return object()

    monkeypatch.setitem(engines.ENGINES, "test", build)
    monkeypatch.setattr(engines, "_loaded", {})
    wanted = replace(pooled, engine="test")
    threads = [threading.Thread(target=lambda: found.append(load(wanted))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert built == [wanted]
    assert len(set(map(id, found))) == 1
    assert load(replace(wanted, layer="max_pool")) is not found[0]


def test_a_deserialised_spec_finds_the_loaded_network(pooled):
    assert NetworkSpec.from_json(pooled.to_json()) == pooled
    assert load(pickle.loads(pickle.dumps(pooled))) is load(pooled)


def test_an_unknown_engine_is_refused(tensorflow):
    with pytest.raises(
        ValueError, match=r"no engine 'abacus': choose one of winograd, ncnn, tensorflow"
    ):
        load(replace(tensorflow, engine="abacus"))


# What is refused


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 32, 48, 3), np.uint8),
        np.zeros((48, 48, 3), np.uint8),
        np.zeros((1, 48, 48, 4), np.uint8),
        np.zeros((1, 48, 48, 3), np.float32),
    ],
)
def test_pixels_of_another_shape_or_type_are_refused(pooled, pixels):
    with pytest.raises(ValueError, match=r"pixels are|wanted uint8"):
        load(pooled).features(pixels)


@pytest.mark.parametrize("engine", ["tensorflow", "ncnn", "winograd"])
def test_features_that_are_not_finite_are_refused(tmp_path, engine):
    def exploding():
        for name, shape in layout(include_top=False).items():
            yield name, np.full(shape, 1e10, np.float32)

    path = tmp_path / "exploding.npz"
    write(path, exploding(), include_top=False, origin="test")
    made = Weights(path, digest_of(path, include_top=False), "test")
    wanted = ready(made, tmp_path, engine)
    with pytest.raises(NetworkError, match=r"gave NaN or infinite features.*set model\.weights"):
        load(wanted).features(np.full((1, SIZE, SIZE, 3), 255, np.uint8))
    shutil.rmtree(tmp_path)


def test_larger_photos_take_more_memory(spec: NetworkSpec) -> None:
    small, large = (engines.worker_bytes(replace(spec, input_size=size)) for size in (224, 1024))
    assert large > small + (1 << 30)
