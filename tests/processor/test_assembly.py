"""The assembly: from the configuration to objects; how cores and memory are shared out."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from common.config import load
from processor import assembly
from processor.errors import NetworkError
from processor.network.spec import NetworkSpec
from processor.photos.decode import PREPROCESSING_FULL

GIB = 1 << 30


@pytest.mark.parametrize(
    ("engine", "layer", "cores", "memory", "expected"),
    [
        ("winograd", "avg_pool", 2, 24, (2, 1)),
        ("winograd", "avg_pool", 64, 16, (39, 1)),
        ("winograd", "fc2", 64, 16, (35, 1)),
        ("ncnn", "avg_pool", 1, 16, (1, 1)),
        ("ncnn", "avg_pool", 2, 24, (2, 1)),
        ("ncnn", "avg_pool", 4, 16, (4, 1)),  # a t2.xlarge
        ("ncnn", "fc2", 4, 16, (4, 1)),
        ("ncnn", "fc2", 4, 8, (2, 2)),
        ("ncnn", "avg_pool", 64, 16, (16, 4)),
        ("ncnn", "avg_pool", 4, 2, (1, 4)),  # too little memory even for one, which is tried
        ("tensorflow", "avg_pool", 2, 24, (1, 2)),
        ("tensorflow", "avg_pool", 16, 64, (4, 4)),
        ("tensorflow", "fc2", 16, 8, (1, 16)),
    ],
)
def test_each_core_is_used_once_within_memory(
    spec: NetworkSpec,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    layer: str,
    cores: int,
    memory: int,
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr(assembly, "cores", lambda: cores)
    monkeypatch.setattr(assembly, "memory_bytes", lambda: memory * GIB)
    wanted = replace(spec, engine=engine, layer=layer, input_size=224)
    workers, threads = assembly.share_cores(wanted)
    assert (workers, threads) == expected
    assert workers * threads <= cores


def test_configured_numbers_are_used(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "cores", lambda: 8)
    assert assembly.share_cores(spec, 3, 5) == (3, 5)
    assert assembly.share_cores(spec, 3, 0) == (3, 2)
    assert assembly.share_cores(replace(spec, engine="ncnn"), 0, 2)[1] == 2


def settings(cache_dir: Path, **others: str) -> dict[str, str]:
    return {
        "FRUITS_SERVICE__CACHE_DIR": str(cache_dir),
        "FRUITS_MODEL__WEIGHTS": "random",
        "FRUITS_MODEL__INPUT_SIZE": "32",
        "FRUITS_MODEL__ENGINE": "tensorflow",
        **others,
    }


def test_the_network_is_the_configured_one(cache_dir: Path) -> None:
    config = load(environment=settings(cache_dir, FRUITS_IMAGES__REDUCED_DECODE="false"))
    spec = assembly.network_spec(config)
    assert (spec.engine, spec.layer, spec.input_size) == ("tensorflow", "avg_pool", 32)
    assert spec.preprocessing == PREPROCESSING_FULL
    assert Path(spec.weights_path).is_relative_to(cache_dir)


def test_auto_takes_the_fastest_engine_that_runs_here_and_says_why(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def obtain(spec: NetworkSpec, _: Path) -> NetworkSpec:
        if spec.engine in broken:
            raise NetworkError(f"{spec.engine} is broken")
        return spec

    monkeypatch.setattr(assembly.compiled, "obtain", obtain)
    config = load(environment=settings(cache_dir, FRUITS_MODEL__ENGINE="auto"))
    broken: set[str] = set()
    assert assembly.network_spec(config).engine == "winograd"
    assert not caplog.messages
    broken = {"winograd"}
    assert assembly.network_spec(config).engine == "ncnn"
    broken = {"winograd", "ncnn"}
    assert assembly.network_spec(config).engine == "tensorflow"
    assert caplog.messages == [
        f"engine {engine} is passed over: {engine} is broken"
        for engine in ("winograd", "winograd", "ncnn")
    ]


def test_a_configured_engine_is_never_replaced(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def obtain(spec: NetworkSpec, _: Path) -> NetworkSpec:
        raise NetworkError("broken")

    monkeypatch.setattr(assembly.compiled, "obtain", obtain)
    config = load(environment=settings(cache_dir, FRUITS_MODEL__ENGINE="winograd"))
    with pytest.raises(NetworkError, match="broken"):
        assembly.network_spec(config)


def test_recipe_and_policy_carry_the_settings(spec: NetworkSpec) -> None:
    config = load(
        environment={
            "FRUITS_STORAGE__BUCKET": "a-bucket",
            "FRUITS_STORAGE__STORE_PREFIX": "v2/",
            "FRUITS_IMAGES__MAX_BYTES": "7",
            "FRUITS_PCA__COMPONENTS": "0.9",
            "FRUITS_PCA__GROWTH_PHOTOS": "11",
        }
    )
    recipe = assembly.recipe(config, spec)
    assert recipe.layout.store.features == "s3://a-bucket/v2/features"
    assert (recipe.network, recipe.max_bytes) == (spec, 7)
    policy = assembly.refit_policy(config)
    assert (policy.components, policy.growth_photos) == (0.9, 11)
    assert policy.least_captured == config.pca.least_captured
    assert policy.least_pause == config.pca.least_pause


def test_an_eighth_of_the_memory_is_set_aside_for_large_photos(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {}
    for gib in (1, 4, 16):
        monkeypatch.setattr(assembly, "memory_bytes", lambda gib=gib: gib * GIB)
        found[gib] = assembly.photo_bytes() / GIB
    assert found == {1: 0.25, 4: 0.5, 16: 2}


def test_all_services_of_a_user_share_the_budget(
    spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    one, other = (
        assembly.recipe(load(environment={"FRUITS_STORAGE__BUCKET": name}), spec).memory
        for name in ("a-bucket", "another")
    )
    assert one == other == assembly.memory_budget()
    one.check()
    assert [path.name for path in tmp_path.iterdir()] == [f"fruits-memory-{os.getuid()}"]
