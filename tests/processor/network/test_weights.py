"""Weights: from the setting to one verified file in the cache, and every setting that is refused."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from processor.errors import WeightsError
from processor.network import weights
from processor.network.weights import Weights, obtain
from processor.network.weights_file import digest_of, read, write
from tests.support.drawn_weights import NOTOP, in_one_line, random_arrays, reference_digest

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
def no_keras(monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("Keras was run")

    monkeypatch.setattr(weights.child, "run", refuse)


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
    # A different digest means that this version of NumPy draws different numbers: stores made with
    # random weights then need a new name.
    found = obtain("random", include_top=False, cache_dir=tmp_path)
    assert found.digest == "5775d8524f0c6b8926d988d8321363c2ca54a354647cafd124822e3c08d444d2"


def test_random_without_seed_is_seed_zero_and_other_seeds_differ(tmp_path):
    digests = [
        obtain(form, include_top=False, cache_dir=tmp_path).digest
        for form in ("random", "random:0", "random:00", "random:1")
    ]
    assert digests[0] == digests[1] == digests[2] != digests[3]


# The cache


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


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


# Settings


def test_npz_needs_no_keras(saved, tmp_path, no_keras, monkeypatch):
    folder, digest = saved
    monkeypatch.chdir(folder)
    found = obtain("plain.npz", include_top=False, cache_dir=tmp_path)
    assert found.digest == digest
    assert found.path.parent == tmp_path
    assert found.source == str(folder / "plain.npz")


def test_a_changed_file_is_noticed(saved, tmp_path):
    folder, digest = saved
    path = tmp_path / "mine.npz"
    path.write_bytes((folder / "plain.npz").read_bytes())
    assert obtain(str(path), include_top=False, cache_dir=tmp_path / "cache").digest == digest
    write(path, random_arrays(8), include_top=False, origin="test")
    found = obtain(str(path), include_top=False, cache_dir=tmp_path / "cache")
    assert found.digest == reference_digest(random_arrays(8))


def test_imagenet_offline_fails_soon_and_names_the_fix(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens: offline anywhere
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    begin = time.monotonic()
    with pytest.raises(WeightsError) as failure:
        obtain("imagenet", include_top=False, cache_dir=tmp_path / "cache")
    assert time.monotonic() - begin < 30  # nearly all of it is the import of TensorFlow
    message = in_one_line(failure)
    assert message.startswith("cannot download ImageNet weights (URL fetch failure on https://")
    assert message.endswith(
        "allow HTTPS to storage.googleapis.com, or set model.weights to a file, "
        "an s3:// object with #sha256=, or random"
    )
    assert not list((tmp_path / "cache").glob("*.npz"))


@pytest.mark.parametrize("setting", ["random:", "random:x", "random:-1", "random:1.5"])
def test_an_invalid_seed_is_refused(tmp_path, setting):
    with pytest.raises(WeightsError, match="random:SEED"):
        obtain(setting, include_top=False, cache_dir=tmp_path)


@pytest.mark.parametrize("setting", ["imagnet", "", "weights.pt", "none/there.h5", "."])
def test_a_setting_that_is_not_a_source_is_told_the_forms(tmp_path, setting):
    with pytest.raises(WeightsError, match=r"set model\.weights to imagenet, random") as failure:
        obtain(setting, include_top=False, cache_dir=tmp_path)
    assert setting in in_one_line(failure)


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "a.keras").mkdir()
    with pytest.raises(WeightsError, match="Is a directory"):
        obtain(str(tmp_path / "a.keras"), include_top=False, cache_dir=tmp_path / "cache")
