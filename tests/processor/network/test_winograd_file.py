"""The compiled file of the engine winograd: what is in it, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from processor.errors import NetworkError, WeightsError
from processor.network import native, weights_file, winograd, winograd_file
from processor.network.weights import Weights
from processor.network.winograd_code import ALIGNMENT
from tests.support.networks import DIGEST


@pytest.fixture(scope="module", params=native.instruction_sets(), ids=lambda each: each.name)
def written(
    request: pytest.FixtureRequest, weights: Weights, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "network.winograd"
    winograd_file.write(path, weights.path, weights.digest, top=False, instructions=request.param)
    return path


def test_its_weights_are_mapped_aligned_and_as_the_code_reads_them(
    written: Path, weights: Weights
) -> None:
    target, library, found = winograd_file.read(written)
    assert library.startswith(b"\x7fELF")
    arrays = dict(weights_file.read(weights.path, include_top=False))
    assert found.keys() == arrays.keys()
    for name, array in found.items():
        assert array.ctypes.data % ALIGNMENT == 0
        assert array.flags.c_contiguous
        assert not array.flags.writeable
        assert isinstance(array.base, np.ndarray)
        if name.endswith("/bias"):
            assert np.array_equal(array, arrays[name])
    kernel = found["block2_conv1/kernel"]
    assert kernel.shape == (36, 128 // target.outputs, 64, target.outputs)
    wanted = winograd.matrices(arrays["block2_conv1/kernel"])
    assert np.array_equal(kernel.swapaxes(1, 2).reshape(36, 64, 128), wanted)
    taps = found["block1_conv1/kernel"].reshape(3, 3, 3, 64)  # RGB, where Keras has BGR
    assert np.array_equal(taps, arrays["block1_conv1/kernel"].transpose(2, 0, 1, 3)[::-1])


def test_a_file_for_another_processor_is_refused(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "instruction_sets", lambda: ())
    message = r"compiled for x86-64-v\d, which this machine's processor does not run: use .*ncnn"
    with pytest.raises(NetworkError, match=message):
        winograd_file.read(written)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"{}", b"\x80\x04N."])
def test_what_is_not_such_a_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "network.winograd"
    path.write_bytes(content)
    with pytest.raises(NetworkError, match="cannot read the compiled network"):
        winograd_file.read(path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(NetworkError, match="cannot read the compiled network"):
        winograd_file.read(tmp_path / "array.npy")


def test_other_weights_are_refused(weights: Weights, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="have digest"):
        winograd_file.write(tmp_path / "network", weights.path, DIGEST, top=False)


def test_its_version_names_instruction_set_and_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = native.compiler()
    assert compiler
    name = native.instruction_sets()[0].name
    assert winograd_file.version().endswith(f"-{name}-{compiler.name}")
    other = replace(compiler, name="gcc-99")
    monkeypatch.setattr(native, "compiler", lambda: other)
    assert winograd_file.version().endswith(f"-{name}-gcc-99")


def test_without_the_means_to_compile_the_error_names_them(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "compiler", lambda: None)
    with pytest.raises(NetworkError, match=r"no C compiler here: install gcc or clang .*ncnn"):
        winograd_file.version()
    monkeypatch.setattr(native, "instruction_sets", lambda: ())
    with pytest.raises(NetworkError, match="runs none of x86-64-v4, x86-64-v3, armv8-a"):
        winograd_file.write(tmp_path / "network", weights.path, weights.digest, top=False)
