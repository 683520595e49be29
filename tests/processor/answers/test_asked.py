"""The photo asked about: where it is read, within which limits, and how failure is worded."""

from pathlib import Path

import numpy as np
import pytest

from common.layout import BucketLayout
from processor.answers.asked import Reader
from processor.errors import Missing, PhotoError, RejectedImage, TooLarge
from processor.network import engines
from processor.network.spec import NetworkSpec
from processor.photos.decode import decode
from processor.photos.memory import MemoryBudget
from tests.support.drawn_photos import photo
from tests.support.world import World

KEY = "photos/Apple/a b+ü.jpg"


class Pixels:
    """Stands in for a network: its features are the photo's first pixels."""

    batch_size = 1

    def features(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(len(pixels), -1)[:, :9].astype(np.float32)


@pytest.fixture
def reader(spec: NetworkSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setattr(engines, "load", lambda _: Pixels())
    return Reader(
        layout=BucketLayout("none-such"),
        network=spec,
        max_bytes=100_000,
        max_pixels=1_000_000,
        reduced_decode=True,
        memory=MemoryBudget(1 << 30, tmp_path / "memory"),
    )


def of(data: bytes) -> list[list[float]]:
    return Pixels().features(decode(data, 32).pixels[None]).tolist()


def test_a_local_file(reader: Reader, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(photo(1))
    asked = reader.read(str(file))
    assert (asked.features.tolist(), asked.key) == (of(photo(1)), None)


@pytest.mark.parametrize("key", [KEY, "photos/" + "x" * 1000])
def test_an_object(reader: Reader, world: World, key: str) -> None:
    world.put(key, photo(2))
    own = Reader(BucketLayout(world.bucket), *_rest(reader))
    for name in (key, f"s3://{world.bucket}/{key}"):
        asked = own.read(name)
        assert (asked.features.tolist(), asked.key) == (of(photo(2)), key)
    assert reader.read(f"s3://{world.bucket}/{key}").key is None, (
        "of another bucket than the store's"
    )
    with pytest.raises(
        Missing, match=r"no file 'photos/none' here and no object 'photos/none' in s3://"
    ):
        own.read("photos/none")
    with pytest.raises(Missing, match=r"^there is no object 'none' in s3://"):
        own.read(f"s3://{world.bucket}/none")


def _rest(reader: Reader) -> tuple:
    return (reader.network, reader.max_bytes, reader.max_pixels, True, reader.memory)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"no photo", RejectedImage, "unsupported"),
        (photo(1)[:-200], RejectedImage, "truncated|corrupt"),
        (b"\xff\xd8\xff" + b"0" * 100_000, TooLarge, "images.max_bytes"),
        (b"", RejectedImage, "empty"),
    ],
)
def test_what_is_refused(
    reader: Reader, tmp_path: Path, data: bytes, error: type[PhotoError], words: str
) -> None:
    file = tmp_path / "b.jpg"
    file.write_bytes(data)
    with pytest.raises(error, match=words):
        reader.read(str(file))
