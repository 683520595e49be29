"""What `./run bench tell` measures with: photos altered as said, folds, accuracy."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import tell
from benchmarks.workloads import held_out
from benchmarks.workloads.altered_photos import ALTERATIONS, GREY, altered
from processor.photos.decode import decode

SIZE = 64
LABELS = np.repeat(["a", "b", "c"], 12)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A photo whose left half is red and right half blue, and a green one."""
    folder = tmp_path_factory.mktemp("photos")
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[:, :64, 0] = pixels[:, 64:, 2] = 200
    files = folder / "one.png", folder / "other.png"
    Image.fromarray(pixels).save(files[0])
    Image.new("RGB", (50, 40), (0, 250, 0)).save(files[1])
    return files


def corners(name: str, files: tuple[Path, Path]) -> list[str]:
    """The strongest colour in the corners and in the middle left and right of an altered photo."""
    pixels = decode(altered(ALTERATIONS[name], *files), SIZE).pixels.astype(int)
    near, far = 4, SIZE - 5
    places = [(near, near), (near, far), (far, near), (far, far), (32, 16), (32, 48)]
    return ["grey" if np.ptp(pixels[at]) < 60 else "rgb"[int(pixels[at].argmax())] for at in places]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        *((name, "rbrbrb") for name in ("same_pixels", "half_size", "jpeg_30", "middle_50")),
        *((name, "rbrbrb") for name in ("darker", "brighter")),
        ("mirrored", "brbrbr"),
        ("turned_90", "bbrrxx"),
        ("turned_180", "brbrbr"),
        ("other_background", "ggggrb"),
        ("only_background", "rbrb--"),
        ("without_background", "----rb"),
        ("without_colour", "------"),
    ],
)
def test_alterations(name: str, wanted: str, files: tuple[Path, Path]) -> None:
    found = "".join("-" if each == "grey" else each for each in corners(name, files))
    assert [a for a, b in zip(found, wanted, strict=True) if b != "x"] == list(
        wanted.replace("x", "")
    )


def test_how_strong_they_are(files: tuple[Path, Path]) -> None:
    def size(name: str) -> int:
        return len(altered(ALTERATIONS[name], *files))

    def pixels(name: str) -> np.ndarray:
        return decode(altered(ALTERATIONS[name], *files), SIZE).pixels.astype(float)

    assert size("jpeg_10") < size("jpeg_30") < size("jpeg_75")
    assert pixels("darker").mean() < pixels("same_pixels").mean() < pixels("brighter").mean()
    np.testing.assert_array_equal(pixels("same_pixels"), decode(files[0].read_bytes(), SIZE).pixels)
    np.testing.assert_allclose(pixels("only_background")[32, 32], GREY, atol=1)


def rows() -> np.ndarray:
    """Three labels, each apart from the others by a column of its own, in noise."""
    features = np.random.default_rng(1).normal(0, 0.1, (len(LABELS), 4)).astype(np.float32)
    features[np.arange(len(LABELS)), np.arange(len(LABELS)) // 12] += 10
    return features


def test_a_scene_is_held_out_whole() -> None:
    """Photos in pairs that are near, three pairs a chain."""
    angles = np.repeat(np.arange(12) * 0.5, 3) + np.tile([0, 0.2, 0.4], 12) / 2
    features = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    folds, scenes = held_out.by_scene(features)
    assert scenes == 12
    assert folds.tolist() == np.repeat(folds[::3], 3).tolist()
    assert set(folds.tolist()) == {0, 1, 2}


def test_accuracy() -> None:
    folds = held_out.at_random(len(LABELS))
    assert held_out.accuracy(rows(), LABELS, folds, None) == (1.0, 1.0)
    assert held_out.accuracy(rows(), LABELS, folds, 2).logistic == 1.0
    shuffled = np.random.default_rng(2).permutation(LABELS)
    assert max(held_out.accuracy(rows(), shuffled, folds, None)) < 0.6


def test_what_is_confused() -> None:
    cosines = np.eye(4, dtype=np.float32)
    cosines[0, 1] = cosines[1, 0] = 0.9
    cosines[2, 3] = cosines[3, 2] = 0.9995
    found = tell._confused(cosines, np.array(["a", "b", "c", "c"]))
    assert found == [("a", "b", 1), ("b", "a", 1)]
    near = tell._cosines(cosines, np.array(["a", "b", "c", "c"]))["near"]
    assert near["0.999"] == {"pairs": 1, "same_label": 1}
    assert near["0.95"] == {"pairs": 1, "same_label": 1}
