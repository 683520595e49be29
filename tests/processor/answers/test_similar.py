"""Similar photos: the neighbours, the likely label, and what is none of these."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from common.layout import StoreLayout
from processor.answers import similar as module
from processor.answers.asked import Asked
from processor.answers.rows import StoredRows
from processor.answers.similar import similar
from tests.support.feature_files import commit_features, features_table

LABELS = 4
PHOTOS = 240


def drawn(seed: int, photos: int = PHOTOS, spread: float = 0.1) -> np.ndarray:
    """Photo n is of the label n % LABELS."""
    centres = np.random.default_rng(0).random((LABELS, 32), np.float32)
    random = np.random.default_rng(seed)
    noise = spread * random.standard_normal((photos, 32), np.float32)
    return np.abs(centres[np.arange(photos) % LABELS] + noise)


def stored_in(folder: Path, labels: list[str | None]) -> StoredRows:
    layout = StoreLayout(f"{folder}/")
    table = features_table(drawn(1, len(labels)))
    table = table.set_column(2, table.schema.field("label"), pa.array(labels, pa.string()))
    half = len(labels) // 2
    commit_features(layout, table[:half], table[half:])
    found = StoredRows.newest(layout)
    assert found
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredRows:
    return stored_in(tmp_path_factory.mktemp("store"), [f"L{n % LABELS}" for n in range(PHOTOS)])


def ask(stored: StoredRows, features: np.ndarray, key: str | None = None, top: int = 5):
    return similar(stored, "it", Asked(features[None], key), top)


def test_the_likely_label_of_new_photos(stored: StoredRows) -> None:
    for row, features in enumerate(drawn(2, 8, spread=0.05)):
        found = ask(stored, features)
        assert found["likely"] == f"L{row % LABELS}"
        assert found["confidence"]
        assert found["confidence"] > 0.9
        assert found["verdict"] == f"L{row % LABELS}, {found['confidence']:.1%} likely"
        assert not found["none_of_these"]
        assert (found["photo"], found["photos"], found["features_version"]) == ("it", PHOTOS, 1)
        cosines = [each["cosine"] for each in found["neighbours"]]
        assert len(cosines) == 5
        assert cosines == sorted(cosines, reverse=True)


def test_a_stored_photo_is_not_its_own_neighbour(stored: StoredRows) -> None:
    features, key = drawn(1)[7], "photos/000007.jpg"
    assert ask(stored, features)["neighbours"][0] == {"key": key, "label": "L3", "cosine": 1.0}
    found = ask(stored, features, key, top=PHOTOS)["neighbours"]
    assert len(found) == PHOTOS - 1
    assert key not in {each["key"] for each in found}


def test_none_of_these(stored: StoredRows) -> None:
    found = ask(stored, np.eye(32, dtype=np.float32)[5])
    assert found["none_of_these"]
    assert found["least_cosine"]
    assert found["neighbours"][0]["cosine"] < found["least_cosine"]
    assert found["verdict"].startswith(
        "none of these: no stored photo has a cosine of at least 0.9"
    )


def test_without_enough_labels_only_neighbours(tmp_path: Path) -> None:
    unlabelled = stored_in(tmp_path, ["L0", "L1", *[None] * 60])
    found = ask(unlabelled, drawn(2)[0])
    assert len(found["neighbours"]) == 5
    assert (found["likely"], found["confidence"], found["least_cosine"]) == (None, None, None)
    assert not found["none_of_these"]
    assert found["verdict"] == "unknown: too few stored photos have a label"


@pytest.mark.parametrize("most_bytes", [0, 1 << 30])
def test_the_sample_is_bounded(
    stored: StoredRows, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    monkeypatch.setattr(module, "SAMPLE_BYTES", most_bytes)
    monkeypatch.setattr(module, "MOST_SAMPLED", 110)
    labels, features = module._sample(stored)
    assert len(labels) == len(features) == 110
    known = {tuple(row): f"L{n % LABELS}" for n, row in enumerate(drawn(1).tolist())}
    assert [known[tuple(row)] for row in features.tolist()] == labels
    first = set(map(tuple, drawn(1)[: PHOTOS // 2].tolist()))
    taken = sum(tuple(row) in first for row in features.tolist())
    assert taken in ((0, 110) if not most_bytes else range(30, 80)), "one data file, or both"
