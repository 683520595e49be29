"""The network against Keras' own VGG16, layer by layer, photo by photo."""

import gc
import hashlib
import io
import pickle
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from processor import engines
from processor.engine_tensorflow import import_keras
from processor.engines import load
from processor.images import PREPROCESSING, PREPROCESSING_FULL, decode
from processor.ncnn_graph import write_weights
from processor.network import LAYERS, CompiledFile, NetworkError, NetworkSpec
from processor.weights import Weights, WeightsError, obtain
from processor.weights_file import digest_of, layout, read, write

# Keras 3.15 turns its variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:keras"
)

ROOT = Path(__file__).resolve().parents[2]
SIZE = 48
DIGEST = "0123456789abcdef" * 4


def spec(**changes):
    return replace(NetworkSpec("weights.npz", DIGEST, "avg_pool", SIZE), **changes)


def photos(count, size=SIZE, seed=0):
    """Smooth pictures with some grain, as photos are; no two alike."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    angle, speed = generator.uniform(0, 6, (2, count, 1, 1, 3))
    wave = np.sin(speed * (x[..., None] * np.cos(angle) + y[..., None] * np.sin(angle)) + angle)
    grain = generator.normal(0, 8, (count, size, size, 3))
    return np.clip(127 + 120 * wave + grain, 0, 255).astype(np.uint8)


def difference(found, wanted):
    """Relative L2 of each photo's features."""
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    return np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)


def by_keras(path, pixels, layer):
    """The features as a reader of Keras' manual would get them."""
    _, keras = import_keras()
    top = layer == "fc2"
    pooling = {"avg_pool": "avg", "max_pool": "max"}.get(layer)
    shape = pixels.shape[1:]
    model = keras.applications.VGG16(
        weights=None, include_top=top, input_shape=shape, pooling=pooling
    )
    for name, array in read(path, include_top=top):
        found, part = name.split("/")
        getattr(model.get_layer(found), part).assign(array)
    if top:
        model = keras.Model(model.input, model.get_layer("fc2").output)
    prepared = keras.applications.vgg16.preprocess_input(pixels.astype(np.float32))
    return model.predict(prepared, verbose=0)


def ready(weights, folder, engine, **changes):
    """A spec that can be loaded; compiled without the comparison, which these tests are."""
    wanted = spec(
        weights_path=str(weights.path), weights_digest=weights.digest, engine=engine, **changes
    )
    if engine == "tensorflow":
        return wanted
    path = folder / f"{wanted.layer}.ncnn"
    write_weights(path, weights.path, weights.digest, top=wanted.layer == "fc2")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(wanted, compiled=CompiledFile(str(path), sha256))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    yield obtain("random:7", include_top=False, cache_dir=folder)
    engines._loaded.clear()
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["tensorflow", "ncnn"])
def pooled(request, weights, tmp_path_factory):
    return ready(weights, tmp_path_factory.mktemp("compiled"), request.param, batch_size=4)


@pytest.fixture(scope="module")
def tensorflow(weights):
    return ready(weights, None, "tensorflow", batch_size=4)


@pytest.fixture(scope="module")
def ncnn(weights, tmp_path_factory):
    return ready(weights, tmp_path_factory.mktemp("compiled"), "ncnn", batch_size=4)


# Agreement


@pytest.mark.parametrize("layer", ["avg_pool", "max_pool"])
@pytest.mark.parametrize("size", [32, 33, SIZE, 95, 100])
def test_pooled_layers_agree_with_keras(weights, pooled, layer, size):
    pixels = photos(5, size)
    found = load(replace(pooled, layer=layer, input_size=size)).features(pixels)
    wanted = by_keras(weights.path, pixels, layer)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape == (5, LAYERS[layer])
    assert difference(found, wanted).max() < 1e-5
    assert difference(found[1:], found[:-1]).min() > 1e-2  # photos are told apart at all


@pytest.mark.parametrize("engine", ["tensorflow", "ncnn"])
def test_fc2_agrees_with_keras(tmp_path, engine):
    made = obtain("random:7", include_top=True, cache_dir=tmp_path)
    pixels = photos(2, 224)
    wanted = by_keras(made.path, pixels, "fc2")
    gc.collect()  # two networks of 0.5 GB are enough
    whole = ready(made, tmp_path, engine, layer="fc2", input_size=224)
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


@pytest.mark.parametrize("batch_size", [1, 3, 8, 32])
def test_features_do_not_depend_on_the_batch_size(pooled, batch_size):
    pixels = photos(9)
    found = load(replace(pooled, batch_size=batch_size)).features(pixels)
    assert difference(found, load(pooled).features(pixels)).max() < 1e-5


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=13))
def test_features_do_not_depend_on_company_or_place(pooled, order):
    pixels = photos(10)
    alone = np.concatenate([load(pooled).features(pixels[n : n + 1]) for n in order])
    assert difference(load(pooled).features(pixels[order]), alone).max() < 1e-5


def test_one_trace_serves_all_batches(tensorflow):
    loaded = load(tensorflow)
    for count in (1, 2, 3, 4, 5, 11):
        loaded.features(photos(count))
    assert loaded._run.experimental_get_tracing_count() == 1


def test_no_photos_have_no_features(pooled):
    found = load(pooled).features(photos(0))
    assert found.shape == (0, 512)
    assert found.dtype == np.float32


def test_pixels_may_be_read_only_and_strided(pooled):
    pixels = photos(3)
    turned = np.flip(pixels, axis=2)
    turned.flags.writeable = False
    wanted = load(pooled).features(np.ascontiguousarray(turned))
    assert np.array_equal(load(pooled).features(turned), wanted)


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


def test_a_spec_that_travelled_finds_the_loaded_network(pooled):
    assert NetworkSpec.from_json(pooled.to_json()) == pooled
    assert load(pickle.loads(pickle.dumps(pooled))) is load(pooled)


def test_weights_other_than_announced_are_refused(tensorflow):
    with pytest.raises(WeightsError, match=f"not {DIGEST}: delete the file"):
        load(replace(tensorflow, weights_digest=DIGEST))
    assert replace(tensorflow, weights_digest=DIGEST) not in engines._loaded


def test_a_compiled_file_other_than_announced_is_refused(ncnn):
    other = replace(ncnn, compiled=replace(ncnn.compiled, sha256=DIGEST))
    with pytest.raises(NetworkError, match=f"not {DIGEST}: delete it and start"):
        load(other)
    lost = replace(ncnn, compiled=replace(ncnn.compiled, path="no.ncnn"))
    with pytest.raises(NetworkError, match=r"no compiled network no\.ncnn .*start the service"):
        load(lost)
    with pytest.raises(ValueError, match="needs a compiled file"):
        load(replace(ncnn, compiled=None))


def test_an_unknown_engine_is_refused(tensorflow):
    with pytest.raises(ValueError, match=r"no engine 'abacus': choose one of ncnn, tensorflow"):
        load(replace(tensorflow, engine="abacus"))


def test_ncnn_needs_no_tensorflow_and_no_network(ncnn):
    script = """
import sys
sys.addaudithook(lambda event, _: event.startswith("socket.") and sys.exit(f"network: {event}"))
import numpy as np
from processor.engines import load
from processor.network import NetworkSpec
print(load(NetworkSpec.from_json(sys.argv[1])).features(np.zeros((2, 48, 48, 3), np.uint8)).shape)
assert "tensorflow" not in sys.modules
"""
    command = [sys.executable, "-c", script, ncnn.to_json()]
    alone = ["unshare", "--map-root-user", "--net"]  # a network namespace without any network
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0:
        command = [*alone, *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2, 512)\n"
    assert done.stderr == ""


def test_other_python_threads_run_while_ncnn_computes(ncnn):
    """Photos are fetched and decoded meanwhile."""
    network = load(ncnn)
    pixels = photos(64)
    began = time.monotonic()
    thread = threading.Thread(target=network.features, args=(pixels,))
    thread.start()
    ticks = 0
    while thread.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert ticks > (time.monotonic() - began) / 0.02


def test_a_missing_weights_file_is_named(tensorflow):
    with pytest.raises(
        WeightsError, match=r"there is no weights file nowhere\.npz on this machine"
    ):
        load(replace(tensorflow, weights_path="nowhere.npz"))


def test_other_threads_than_tensorflow_runs_with_are_refused(tensorflow):
    load(tensorflow)  # TensorFlow runs from here on
    with pytest.raises(NetworkError, match=r"cannot give TensorFlow 63 threads.*fresh process"):
        load(replace(tensorflow, threads=63))


def test_the_process_gets_the_threads_asked_for_and_no_chatter(tensorflow):
    script = """
import pickle, sys
import numpy as np
from processor.engines import load
spec = pickle.loads(bytes.fromhex(sys.argv[1]))
assert "tensorflow" not in sys.modules
load(spec).features(np.zeros((1, 48, 48, 3), np.uint8))
import os, tensorflow
threading = tensorflow.config.threading
os.write(2, b"passed on")
print(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
"""
    wanted = pickle.dumps(replace(tensorflow, threads=2)).hex()
    done = subprocess.run(
        [sys.executable, "-c", script, wanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2 1\n"
    assert done.stderr == "passed on"


def test_what_others_write_during_the_import_is_passed_on():
    script = """
import os
from processor.engine_tensorflow import _without_chatter
with _without_chatter():
    os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on. And so on.\\nkept\\n")
    raise SystemExit(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr == "kept\n"


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
def test_pixels_of_another_kind_are_refused(pooled, pixels):
    with pytest.raises(ValueError, match=r"pixels are|wanted uint8"):
        load(pooled).features(pixels)


@pytest.mark.parametrize("engine", ["tensorflow", "ncnn"])
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layer": "fc1"}, "no layer 'fc1': choose one of avg_pool, max_pool, fc2"),
        ({"layer": "fc2"}, "layer 'fc2' needs input_size 224, not 48"),
        ({"input_size": 31}, "input_size 31 is below 32"),
        ({"threads": -1}, "threads and batch_size must be at least 0"),
        ({"batch_size": -1}, "threads and batch_size must be at least 0"),
        ({"weights_digest": "abc"}, "weights_digest 'abc' is no SHA-256"),
        ({"preprocessing": "none"}, "no preprocessing 'none'"),
    ],
)
def test_impossible_specs_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        spec(**changes)


# The name


def test_the_model_id_names_all_that_decides_features():
    assert spec(input_size=224).model_id == f"vgg16-avg_pool-224-0123456789abcdef-{PREPROCESSING}"
    others = [
        spec(layer="max_pool"),
        spec(input_size=64),
        spec(weights_digest="f" * 64),
        spec(preprocessing=PREPROCESSING_FULL),
        spec(),
    ]
    assert len({each.model_id for each in others}) == len(others)


def test_the_model_id_names_nothing_else():
    for changes in (
        {"weights_path": "elsewhere.npz"},
        {"engine": "ncnn", "compiled": CompiledFile("net.ncnn", DIGEST)},
        {"threads": 3},
        {"batch_size": 64},
    ):
        assert spec(**changes).model_id == spec().model_id


# Reduced decoding


@pytest.mark.parametrize("size", [100, 224])
def test_reduced_decoding_hardly_changes_features(tmp_path, weights, size):
    """Of drawn photos as phones take them: 12 megapixels, fine texture, quality 90."""
    loaded = load(ready(weights, tmp_path, "ncnn", input_size=size))
    for seed in range(2):
        small = Image.fromarray(photos(1, 256, seed)[0])
        large = np.asarray(small.resize((4000, 3000), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = np.random.default_rng(seed).integers(-20, 20, large.shape, np.int16)
        buffer = io.BytesIO()
        Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)).save(
            buffer, "JPEG", quality=90
        )
        reduced, full = (
            loaded.features(decode(buffer.getvalue(), size, reduced_decode=each).pixels[None])[0]
            for each in (True, False)
        )
        cosine = reduced @ full / np.linalg.norm(reduced) / np.linalg.norm(full)
        assert cosine >= 0.999
