"""Agreement: the distance of features from Keras' own, and the process that measures it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from processor.network.agreement import Agreement, compare, main, probes
from processor.network.spec import CompiledFile, NetworkSpec
from tests.support.networks import DIGEST


def test_agreement_is_measured_by_the_worst_photo() -> None:
    keras = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]], np.float32)
    assert compare(keras, keras) == Agreement(0.0, 0.0)
    other = keras + np.array([[0.0, 0.1], [0.1, 0.0], [0.0, 0.0]], np.float32)
    found = compare(other, keras)
    assert found.relative_l2 == pytest.approx(0.05)
    assert found.largest == pytest.approx(0.05)
    assert found.within(0.051)
    assert not found.within(0.049)
    assert not Agreement(float("nan"), 0.0).within(1.0)


def test_features_where_keras_has_none_disagree() -> None:
    nothing = np.zeros((1, 2), np.float32)
    assert not compare(nothing + 1e-6, nothing).within(1e-4)


def test_probes_are_photos_noise_and_plain() -> None:
    found = probes(48)
    assert found.shape == (8, 48, 48, 3)
    assert found.dtype == np.uint8
    assert len({each.tobytes() for each in found}) == 8
    assert np.array_equal(found, probes(48))


# The process


def test_a_compiled_engine_agrees_with_keras(
    ncnn: NetworkSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([ncnn.to_json(), "1e-4"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures.keys() == {"relative_l2", "largest"}
    assert all(0 < figure < 1e-4 for figure in figures.values())


def test_a_distance_above_the_tolerance_is_reported_with_the_figures(
    ncnn: NetworkSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([ncnn.to_json(), "1e-9"]) == 1
    output = capsys.readouterr().out
    assert output.startswith("engine 'ncnn' does not agree with Keras here: relative L2 ")
    assert output.endswith("allowed 1e-9: set model.engine to tensorflow\n")
    assert output.count("\n") == 1


@pytest.mark.usefixtures("tidy")
def test_a_slightly_different_network_does_not_agree(
    ncnn: NetworkSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ncnn.compiled
    biases = np.frombuffer(Path(ncnn.compiled.path).read_bytes(), "<f4").copy()
    biases[-512:] += 0.1  # of the last convolution
    data = biases.tobytes()
    (tmp_path / "other.ncnn").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    other = replace(ncnn, compiled=CompiledFile(str(tmp_path / "other.ncnn"), sha256))
    assert main([other.to_json(), "1e-4"]) == 1
    assert "does not agree with Keras" in capsys.readouterr().out


def test_a_network_that_cannot_be_loaded_is_reported_in_one_line(
    ncnn: NetworkSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ncnn.compiled
    other = replace(ncnn, compiled=replace(ncnn.compiled, sha256=DIGEST))
    assert main([other.to_json(), "1e-4"]) == 1
    output = capsys.readouterr().out
    assert f"not {DIGEST}" in output
    assert output.count("\n") == 1
