"""Keras' weights: each of its containers, read in a child process, and files that are refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from processor.errors import WeightsError
from processor.network import weights
from processor.network.engine_tensorflow import import_keras
from processor.network.weights import obtain
from processor.network.weights_file import digest_of
from processor.network.weights_keras import convert
from tests.support.disks import small_disk
from tests.support.drawn_weights import in_one_line, keras_model

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.usefixtures("tidy")


# Containers


@pytest.mark.parametrize("kind", ["plain", "headed"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
def test_equal_weights_have_equal_digests_in_every_container(saved, tmp_path, kind, suffix):
    folder, digest = saved
    convert(str(folder / f"{kind}{suffix}"), tmp_path / "made.npz", include_top=False)
    assert digest_of(tmp_path / "made.npz", include_top=False) == digest


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


def test_the_driver_never_imports_tensorflow_and_keras_runs_once(saved, tmp_path):
    folder, digest = saved
    script = """
import json, sys
from pathlib import Path
import processor.network.spec
from processor.network import weights
if sys.argv[3] == "again":
    weights.child.run = None
found = weights.obtain(sys.argv[1], include_top=False, cache_dir=Path(sys.argv[2]))
loaded = sorted({"tensorflow", "keras", "h5py"} & set(sys.modules))
print(json.dumps([found.digest, str(found.path), loaded]))
"""
    printed = []
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
        printed.append(json.loads(done.stdout))
    assert printed[0] == printed[1]
    assert printed[0][0] == digest
    assert printed[0][2] == []


# Files that are refused


@pytest.mark.parametrize("name", ["a.weights.h5", "a.h5", "a.keras"])
def test_a_file_that_is_not_a_container_is_named(tmp_path, name):
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
    with pytest.raises(WeightsError, match=r"ended with status 1 \(no output\)") as failure:
        obtain(str(folder / "plain.h5"), include_top=False, cache_dir=tmp_path)
    in_one_line(failure)


def test_a_full_disk_is_named(saved: tuple[Path, str], tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", 1 << 20) as disk,
        pytest.raises(WeightsError, match=rf"cannot write {disk}/\S+ \(.*No space left"),
    ):
        obtain(str(saved[0] / "plain.weights.h5"), include_top=False, cache_dir=disk)
