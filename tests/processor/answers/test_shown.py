"""What the commands show on a terminal: keys and labels are strangers' text."""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from common import logs
from common.config import Config, load
from common.layout import StoreLayout
from processor import assembly, commands
from processor.answers.asked import Asked
from processor.network.spec import NetworkSpec
from processor.pipeline.sizing import photo_bytes
from tests.support.feature_files import NETWORK, commit_features, features_table

HOSTILE = "photos/\x1b[2J\u202e.jpg"


@pytest.fixture
def config(bucket: str, tmp_path: Path) -> Config:
    features = np.random.default_rng(1).random((60, 8), np.float32)
    features[9] = features[4]
    table = features_table(features)
    keys = table["key"].to_pylist()
    keys[9] = HOSTILE
    labels = [f"\x1bL{n % 2}" for n in range(60)]
    for name, values in (("key", keys), ("label", labels)):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(name), pa.array(values, pa.string()))
    commit_features(StoreLayout(f"s3://{bucket}/"), table)
    settings = {"FRUITS_STORAGE__BUCKET": bucket, "FRUITS_SERVICE__WORK_DIR": str(tmp_path / "w")}
    return load(environment=settings)


def test_duplicates(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.duplicates(config, argparse.Namespace(json=False, cosine=0.9999)) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines() == [
        *("photos: 60", "features_version: 1", "cosine: 0.9999", "in_groups: 2", "groups: 1"),
        *("", r"  photos/\u001b[2J\u202e.jpg", "  photos/000004.jpg"),
    ]


def test_duplicates_says_how_far_it_is(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(logs, "to_screen", said.append)
    monkeypatch.setattr(commands, "PROGRESS_SECONDS", 0)
    assert commands.duplicates(config, argparse.Namespace(json=True, cosine=0.9999)) == 0
    assert said == ["100% of all pairs compared or excluded, 0 s left\n"]


def test_similar(
    config: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = np.random.default_rng(1).random((60, 8), np.float32)[4]
    asked = Asked(stored[None], "photos/000004.jpg")
    network = argparse.Namespace(model_id=NETWORK)
    monkeypatch.setattr(assembly, "network_spec", lambda _: network)
    monkeypatch.setattr(assembly, "reader", lambda *_: argparse.Namespace(read=lambda _: asked))
    options = argparse.Namespace(json=False, photo="photos/000004.jpg", top=30)
    assert commands.similar(config, options) == 0
    shown = capsys.readouterr().out
    assert r"  key photos/\u001b[2J\u202e.jpg; label \u001bL1; cosine 1.0" in shown.splitlines()
    assert shown.count("; cosine ") == 30
    assert "\x1b" not in shown


def test_a_photo_is_read_within_the_configured_limits(config: Config) -> None:
    spec = NetworkSpec("weights", "0" * 64, "avg_pool", 32, threads=1)
    reader = assembly.reader(config, spec)
    assert (reader.network.threads, reader.network.model_id) == (0, spec.model_id)
    images = config.images
    assert (reader.max_bytes, reader.max_pixels) == (images.max_bytes, images.max_pixels)
    assert (reader.reduced_decode, reader.unsandboxed_heic) == (True, False)
    assert reader.memory.total_bytes == photo_bytes()
