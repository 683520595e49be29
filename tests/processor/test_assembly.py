"""The assembly: from the configuration to objects; which network."""

from pathlib import Path

import pytest

from common.config import load
from processor import assembly
from processor.errors import NetworkError
from processor.network.spec import NetworkSpec
from processor.photos.decode import PREPROCESSING_FULL


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


def test_on_a_cluster_each_worker_chooses_its_threads(cache_dir: Path) -> None:
    master = {"FRUITS_SPARK__MASTER": "spark://master:7077"}
    assert assembly.network_spec(load(environment=settings(cache_dir, **master))).threads == 0
    both = settings(cache_dir, **master, FRUITS_COMPUTE__THREADS="3")
    assert assembly.network_spec(load(environment=both)).threads == 3


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
