"""Every source of weights, and every way it can fail, through processor.weights."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import boto3
import h5py
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from processor import weights
from processor.engine_tensorflow import import_keras
from processor.weights import Weights, WeightsError, obtain
from processor.weights_file import digest_of, layout, read, write
from processor.weights_keras import convert

# Keras 3.15 turns its variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:keras"
)

ROOT = Path(__file__).resolve().parents[2]
NOTOP = layout(include_top=False)


def random_arrays(seed=0):
    generator = np.random.default_rng(seed)
    for name, shape in NOTOP.items():
        yield name, generator.standard_normal(shape, dtype=np.float32)


def reference_digest(arrays):
    """The digest, written down a second time."""
    digest = hashlib.sha256()
    for name, array in arrays:
        digest.update(f"{name} {array.shape}\n".encode() + array.astype("<f4").tobytes())
    return digest.hexdigest()


def keras_model(*, head=False, network="VGG16"):
    _, keras = import_keras()
    model = getattr(keras.applications, network)(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    if head:
        flat = keras.layers.Flatten()(model.output)
        model = keras.Model(model.input, keras.layers.Dense(5, name="fc1")(flat))
    return model


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def in_one_line(failure):
    assert "\n" not in str(failure.value)
    return str(failure.value)


@pytest.fixture(autouse=True)
def tidy(tmp_path):
    """pytest keeps the folders of three runs; here each would have gigabytes."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="module")
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
def no_keras(monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("Keras was run")

    monkeypatch.setattr(weights.child, "run", refuse)


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    yield client
    client.close()
    server.stop()


# Random weights


def test_random_weights_are_he_normal_with_zero_biases_in_network_order(tmp_path):
    found = obtain("random:3", include_top=False, cache_dir=tmp_path)
    arrays = dict(read(found.path, include_top=False))
    assert {name: array.shape for name, array in arrays.items()} == NOTOP
    for name, array in arrays.items():
        assert array.dtype == np.float32
        if name.endswith("/bias"):
            assert not array.any()
        elif array.size > 100_000:
            assert array.std() == pytest.approx(np.sqrt(2 / np.prod(array.shape[:-1])), rel=0.01)
    assert found == Weights(
        path=found.path,
        digest=reference_digest(arrays.items()),
        source="random weights (He-normal, seed 3)",
    )


def test_random_weights_are_the_same_everywhere(tmp_path):
    # Another digest means that this version of NumPy draws other numbers: existing stores made
    # with random weights then need a new name.
    found = obtain("random", include_top=False, cache_dir=tmp_path)
    assert found.digest == "5775d8524f0c6b8926d988d8321363c2ca54a354647cafd124822e3c08d444d2"


def test_random_without_seed_is_seed_zero_and_other_seeds_differ(tmp_path):
    digests = [
        obtain(form, include_top=False, cache_dir=tmp_path).digest
        for form in ("random", "random:0", "random:00", "random:1")
    ]
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_the_file_is_a_plain_npz(tmp_path):
    path = obtain("random", include_top=False, cache_dir=tmp_path).path
    with np.load(path, allow_pickle=False) as arrays:
        assert list(arrays) == list(NOTOP)
        assert arrays["block5_conv3/kernel"].shape == (3, 3, 512, 512)
    with zipfile.ZipFile(path) as archive:
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}


def test_layout_with_top():
    top = layout(include_top=True)
    assert list(top)[:26] == list(NOTOP)
    assert list(top)[26:] == ["fc1/kernel", "fc1/bias", "fc2/kernel", "fc2/bias"]
    assert top["fc1/kernel"] == (25088, 4096)


# Files


@pytest.mark.parametrize("kind", ["plain", "headed"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
def test_equal_weights_have_equal_digests_in_every_container(saved, tmp_path, kind, suffix):
    folder, digest = saved
    convert(str(folder / f"{kind}{suffix}"), tmp_path / "made.npz", include_top=False)
    assert digest_of(tmp_path / "made.npz", include_top=False) == digest


def test_npz_needs_no_keras(saved, tmp_path, no_keras, monkeypatch):
    folder, digest = saved
    monkeypatch.chdir(folder)
    found = obtain("plain.npz", include_top=False, cache_dir=tmp_path)
    assert found.digest == digest
    assert found.path.parent == tmp_path
    assert found.source == str(folder / "plain.npz")


def test_the_driver_never_imports_tensorflow_and_keras_runs_once(saved, tmp_path):
    folder, digest = saved
    script = """
import json, sys
from pathlib import Path
import processor.network
from processor import weights
if sys.argv[3] == "again":
    weights.child.run = None
found = weights.obtain(sys.argv[1], include_top=False, cache_dir=Path(sys.argv[2]))
loaded = sorted({"tensorflow", "keras", "h5py"} & set(sys.modules))
print(json.dumps([found.digest, str(found.path), loaded]))
"""
    answers = []
    for turn in ("first", "again"):
        done = subprocess.run(
            [sys.executable, "-c", script, folder / "plain.weights.h5", tmp_path / "cache", turn],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        answers.append(json.loads(done.stdout))
    assert answers[0] == answers[1]
    assert answers[0][0] == digest
    assert answers[0][2] == []


def test_a_changed_file_is_noticed(saved, tmp_path):
    folder, digest = saved
    path = tmp_path / "mine.npz"
    path.write_bytes((folder / "plain.npz").read_bytes())
    assert obtain(str(path), include_top=False, cache_dir=tmp_path / "cache").digest == digest
    write(path, random_arrays(8), include_top=False, origin="test")
    found = obtain(str(path), include_top=False, cache_dir=tmp_path / "cache")
    assert found.digest == reference_digest(random_arrays(8))


# The cache


def test_a_second_call_makes_nothing(tmp_path, monkeypatch):
    first = obtain("random:5", include_top=False, cache_dir=tmp_path)
    monkeypatch.setattr(weights, "write", None)
    assert obtain("random:5", include_top=False, cache_dir=tmp_path) == first


@pytest.mark.parametrize(
    "spoil", [damage, lambda path: path.write_bytes(path.read_bytes()[:-1000]), Path.touch]
)
def test_a_damaged_cache_file_is_made_again(tmp_path, caplog, spoil):
    first = obtain("random:5", include_top=False, cache_dir=tmp_path)
    if spoil is Path.touch:
        first.path.unlink()
    spoil(first.path)
    with pytest.raises(WeightsError):
        digest_of(first.path, include_top=False)
    assert obtain("random:5", include_top=False, cache_dir=tmp_path) == first
    assert digest_of(first.path, include_top=False) == first.digest
    assert "making cached weights again" in caplog.text


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = tmp_path / "making-abc"
    left.mkdir()
    (left / "half.npz").write_bytes(b"half")
    found = obtain("random", include_top=False, cache_dir=tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {found.path.name, ".lock"}


def test_one_of_many_callers_makes_the_file(tmp_path, monkeypatch):
    made, found = [], []

    def slow_write(*arguments, **options):
        made.append(1)
        time.sleep(0.2)
        write(*arguments, **options)

    def call():
        found.append(obtain("random:6", include_top=False, cache_dir=tmp_path))

    monkeypatch.setattr(weights, "write", slow_write)
    callers = [threading.Thread(target=call) for _ in range(4)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert len(made) == 1
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_readable_cache_need_not_be_writable(tmp_path, monkeypatch):
    first = obtain("random", include_top=False, cache_dir=tmp_path)

    def forbidden(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", forbidden)
    assert obtain("random", include_top=False, cache_dir=tmp_path) == first


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"cannot keep weights in .*file/cache") as failure:
        obtain("random", include_top=False, cache_dir=tmp_path / "file" / "cache")
    assert "user can write" in in_one_line(failure)


# ImageNet


def test_imagenet_offline_fails_soon_and_says_what_would_do(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens: offline anywhere
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    begin = time.monotonic()
    with pytest.raises(WeightsError) as failure:
        obtain("imagenet", include_top=False, cache_dir=tmp_path / "cache")
    assert time.monotonic() - begin < 30  # nearly all of it is the import of TensorFlow
    said = in_one_line(failure)
    assert said.startswith("cannot download ImageNet weights (URL fetch failure on https://")
    assert said.endswith(
        "allow HTTPS to storage.googleapis.com, or set model.weights to a file, "
        "an s3:// object with #sha256=, or random"
    )
    assert not list((tmp_path / "cache").glob("*.npz"))


def test_imagenet_is_what_keras_gives(saved, tmp_path, monkeypatch):
    folder, digest = saved
    _, keras = import_keras()
    builder = keras.applications.VGG16

    def download(*, weights, include_top):
        assert weights == "imagenet"
        return builder(weights=str(folder / "plain.h5"), include_top=include_top)

    monkeypatch.setattr(keras.applications, "VGG16", download)
    convert("imagenet", tmp_path / "made.npz", include_top=False)
    assert digest_of(tmp_path / "made.npz", include_top=False) == digest


# S3


def test_s3_object_is_verified_and_asked_for_once(saved, tmp_path, s3):
    folder, digest = saved
    data = (folder / "plain.npz").read_bytes()
    s3.put_object(Bucket="models", Key="vgg 16/#1.npz", Body=data)
    setting = f"s3://models/vgg 16/#1.npz#sha256={hashlib.sha256(data).hexdigest().upper()}"
    found = obtain(setting, include_top=False, cache_dir=tmp_path)
    assert found.digest == digest
    assert found.source == "s3://models/vgg 16/#1.npz"
    assert {each.name for each in tmp_path.iterdir()} == {found.path.name, ".lock"}
    s3.delete_object(Bucket="models", Key="vgg 16/#1.npz")
    assert obtain(setting, include_top=False, cache_dir=tmp_path) == found


def test_s3_object_in_a_keras_container(saved, tmp_path, s3, monkeypatch):
    def here(source, include_top, target):
        convert(source, target, include_top=include_top)

    monkeypatch.setattr(weights, "_by_keras", here)  # saves the seconds of another process
    folder, digest = saved
    data = (folder / "plain.keras").read_bytes()
    s3.put_object(Bucket="models", Key="a.keras", Body=data)
    setting = f"s3://models/a.keras#sha256={hashlib.sha256(data).hexdigest()}"
    assert obtain(setting, include_top=False, cache_dir=tmp_path).digest == digest


def test_s3_object_with_other_content_is_refused(tmp_path, s3):
    s3.put_object(Bucket="models", Key="a.npz", Body=b"other")
    wanted, found = "0" * 64, hashlib.sha256(b"other").hexdigest()
    with pytest.raises(WeightsError, match=f"SHA-256 {found}, not {wanted}") as failure:
        obtain(f"s3://models/a.npz#sha256={wanted}", include_top=False, cache_dir=tmp_path)
    in_one_line(failure)
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("place", ["models/none.npz", "nowhere/a.npz"])
def test_missing_s3_object_is_named(tmp_path, s3, place):
    with pytest.raises(
        WeightsError, match=f"cannot get weights from s3://{place} .*404"
    ) as failure:
        obtain(f"s3://{place}#sha256={'0' * 64}", include_top=False, cache_dir=tmp_path)
    assert "s3:GetObject" in in_one_line(failure)


def test_s3_without_network_fails_soon(tmp_path, s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="Could not connect") as failure:
        obtain(f"s3://models/a.npz#sha256={'0' * 64}", include_top=False, cache_dir=tmp_path)
    assert "AWS_ENDPOINT_URL" in in_one_line(failure)


@pytest.mark.parametrize(
    "setting",
    ["s3://models/a.npz", "s3://models/a.npz#sha256=abc", "s3://models", "s3:/models/a.npz"],
)
def test_s3_without_digest_is_refused(tmp_path, setting):
    with pytest.raises(WeightsError, match="write s3://bucket/key#sha256=HEX") as failure:
        obtain(setting, include_top=False, cache_dir=tmp_path)
    assert repr(setting) in in_one_line(failure)


def test_s3_object_that_is_no_container_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"'a\.pt' is no weights file"):
        obtain(f"s3://models/a.pt#sha256={'0' * 64}", include_top=False, cache_dir=tmp_path)


# Settings and files that will not do


@pytest.mark.parametrize("setting", ["random:", "random:x", "random:-1", "random:1.5"])
def test_a_seed_that_is_none_is_refused(tmp_path, setting):
    with pytest.raises(WeightsError, match="random:SEED"):
        obtain(setting, include_top=False, cache_dir=tmp_path)


@pytest.mark.parametrize("setting", ["imagnet", "", "weights.pt", "none/there.h5", "."])
def test_what_is_no_source_names_the_forms(tmp_path, setting):
    with pytest.raises(WeightsError, match=r"set model\.weights to imagenet, random") as failure:
        obtain(setting, include_top=False, cache_dir=tmp_path)
    assert setting in in_one_line(failure)


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "a.keras").mkdir()
    with pytest.raises(WeightsError, match="Is a directory"):
        obtain(str(tmp_path / "a.keras"), include_top=False, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("name", ["a.weights.h5", "a.h5", "a.keras"])
def test_a_file_that_is_no_container_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"no such thing" * 100)
    with pytest.raises(WeightsError, match="cannot read VGG-16 weights from") as failure:
        convert(str(path), tmp_path / "made.npz", include_top=False)
    assert str(path) in in_one_line(failure)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
def test_another_network_is_refused(tmp_path, suffix):
    path = tmp_path / f"vgg19{suffix}"
    model = keras_model(network="VGG19")
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    with pytest.raises(WeightsError, match="VGG-16") as failure:
        convert(str(path), tmp_path / "made.npz", include_top=False)
    wanted = "block3_conv4 in the place of" if suffix == ".h5" else "block4_conv1"
    assert wanted in in_one_line(failure)


def test_a_new_file_under_an_old_name_is_explained(saved, tmp_path):
    folder, _ = saved
    path = tmp_path / "vgg16.h5"
    path.write_bytes((folder / "plain.weights.h5").read_bytes())
    with pytest.raises(WeightsError, match=r"named \.weights\.h5"):
        convert(str(path), tmp_path / "made.npz", include_top=False)


def test_fc2_needs_a_file_with_a_top(saved, tmp_path):
    folder, _ = saved
    with pytest.raises(WeightsError, match=r"no layer in the place of fc1.*with its top"):
        convert(str(folder / "plain.h5"), tmp_path / "made.npz", include_top=True)
    with pytest.raises(WeightsError, match=r"plain\.npz.*fc1/kernel"):
        obtain(str(folder / "plain.npz"), include_top=True, cache_dir=tmp_path)


def test_nan_is_refused_through_the_process_that_runs_keras(saved, tmp_path):
    folder, _ = saved
    path = tmp_path / "nan.h5"
    path.write_bytes((folder / "plain.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["model_weights/block2_conv1/block2_conv1/bias"][5] = np.nan
    with pytest.raises(WeightsError, match=r"block2_conv1/bias of .* has NaN") as failure:
        obtain(str(path), include_top=False, cache_dir=tmp_path / "cache")
    in_one_line(failure)
    assert [each.name for each in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_process_that_dies_is_reported(saved, tmp_path, monkeypatch):
    folder, _ = saved
    monkeypatch.setattr(weights.child.sys, "executable", "/bin/false")
    with pytest.raises(WeightsError, match=r"ended with status 1 \(it said nothing\)") as failure:
        obtain(str(folder / "plain.h5"), include_top=False, cache_dir=tmp_path)
    in_one_line(failure)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda arrays: arrays[:-1], "has nothing where VGG-16 has block5_conv3/bias"),
        (lambda arrays: arrays[1:], "has block1_conv1/bias where VGG-16 has block1_conv1/kernel"),
        (lambda arrays: [(arrays[0][0], arrays[0][1][:2]), *arrays[1:]], "in VGG-16 float32"),
        (lambda arrays: [(arrays[0][0], arrays[0][1] * np.inf), *arrays[1:]], "NaN or infinite"),
    ],
)
def test_a_weights_file_is_written_only_of_vgg16(tmp_path, change, said):
    arrays = change(list(random_arrays()))
    with pytest.raises(WeightsError, match=said):
        write(tmp_path / "a.npz", arrays, include_top=False, origin="mine")


def test_reading_proves_the_digest(saved):
    folder, digest = saved
    for _ in read(folder / "plain.npz", include_top=False, digest=digest):
        pass
    with pytest.raises(WeightsError, match=f"digest {digest}, not {'0' * 64}"):
        for _ in read(folder / "plain.npz", include_top=False, digest="0" * 64):
            pass


def test_float64_weights_file_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **{name: np.zeros(shape) for name, shape in NOTOP.items()})
    with pytest.raises(WeightsError, match=r"is float64 \(3, 3, 3, 64\)"):
        obtain(str(tmp_path / "a.npz"), include_top=False, cache_dir=tmp_path)
