"""The configuration: defaults, overrides, and errors that name key, value and what is allowed."""

import re
from pathlib import Path

import pytest

from common.config import Config, ConfigError, load
from common.layout import BucketLayout


def test_the_file_states_the_defaults() -> None:
    assert load(environment={}) == Config()


def test_every_setting_is_in_the_file_and_has_a_comment() -> None:
    text = Path("config.toml").read_text()
    for name, section in Config():
        assert f"[{name}]" in text
        for key in type(section).model_fields:
            assert re.search(rf"^{key} += .+ # .+", text, re.MULTILINE), f"{name}.{key}"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("FRUITS_PCA__COMPONENTS", "32", 32),
        ("FRUITS_PCA__COMPONENTS", "0.95", 0.95),
        ("FRUITS_PCA__GROWTH_SHARE", "1", 1.0),
        ("FRUITS_QUEUE__NAME", "123", "123"),
        ("FRUITS_LOGS__CLOUDWATCH", "true", True),
        ("FRUITS_LOGS__LEVEL", "DEBUG", "DEBUG"),
        ("FRUITS_LOGS__RETENTION_DAYS", "7", 7),
        ("FRUITS_STORAGE__STORE_PREFIX", "", ""),
    ],
)
def test_the_environment_overrides(variable: str, value: str, expected: object) -> None:
    config = load(environment={variable: value})
    section, key = variable.removeprefix("FRUITS_").lower().split("__")
    found = getattr(getattr(config, section), key)
    assert found == expected
    assert type(found) is type(expected)


def test_the_storage_section_is_a_layout() -> None:
    storage = load(environment={"FRUITS_STORAGE__STORE_PREFIX": "store/"}).storage
    assert storage.layout == BucketLayout("fruits-photos", "photos/", "store/")


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[pca]\ncomponent = 3", ["pca.component", "not a setting", "components"]),
        ("[pka]\ncomponents = 3", ["pka", "not a setting", "pca"]),
        ("[pca]\ncomponents = 'x'", ["pca.components", "'x'"]),
        ("[pca]\ncomponents = 1.5", ["pca.components", "1.5"]),
        ("[pca]\ncomponents = 0", ["pca.components", "0"]),
        ("[queue]\nreceivers = '4'", ["queue.receivers", "'4'", "integer"]),
        ("[queue]\nvisibility_timeout_seconds = 1", ["visibility_timeout_seconds", "1", "2"]),
        ("[model]\nlayer = 'fc3'", ["model.layer", "'fc3'", "avg_pool"]),
        ("[model]\nlayer = 'fc2'\ninput_size = 100", ["fc2", "224", "100"]),
        ("[storage]\nphotos_prefix = ''", ["photos_prefix", "store's folders", "photos/"]),
        ("[storage]\nphotos_prefix = 'reduced/'", ["photos_prefix", "store's folders", "photos/"]),
        ("[storage]\nphotos_prefix = 'models/pca/x/'", ["photos_prefix", "delete", "photos/"]),
        ("[storage]\nstore_prefix = 'photos#v2/'", ["store_prefix", "photos#v2/", "letters"]),
        ("[storage]\nphotos_prefix = 'photos'", ["storage.photos_prefix", "'photos'"]),
        ("[storage]\nbucket = 'Not A Bucket'", ["storage.bucket", "Not A Bucket"]),
        ("storage = 3", ["storage", "3"]),
        ("[queue", ["not valid TOML"]),
    ],
)
def test_errors_name_key_value_and_what_is_allowed(
    tmp_path: Path, toml: str, words: list[str]
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(toml)
    with pytest.raises(ConfigError) as error:
        load(file, environment={})
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("variable", ["FRUITS_QEUE__NAME", "FRUITS_QUEUE", "FRUITS_QUEUE__NAMES"])
def test_a_misspelt_variable_is_an_error(variable: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        load(environment={variable: "x"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml.*--config"):
        load(tmp_path / "none.toml")
