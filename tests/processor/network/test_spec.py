"""The network's spec: which values are impossible, and the name of each."""

from dataclasses import replace

import pytest

from processor.network.spec import CompiledFile, NetworkSpec
from processor.photos.decode import PREPROCESSING, PREPROCESSING_FULL
from tests.support.networks import DIGEST, SIZE


def spec(**changes):
    return replace(NetworkSpec("weights.npz", DIGEST, "avg_pool", SIZE), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": "fc1"}, "no layer 'fc1': choose one of avg_pool, max_pool, fc2"),
        ({"layer": "fc2"}, "layer 'fc2' needs input_size 224, not 48"),
        ({"input_size": 31}, "input_size 31 is below 32"),
        ({"threads": -1}, "threads and batch_size must be at least 0"),
        ({"batch_size": -1}, "threads and batch_size must be at least 0"),
        ({"weights_digest": "abc"}, "weights_digest 'abc' is not a SHA-256"),
        ({"preprocessing": "none"}, "no preprocessing 'none'"),
    ],
)
def test_impossible_specs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        spec(**changes)


def test_the_model_id_names_everything_that_determines_features():
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
