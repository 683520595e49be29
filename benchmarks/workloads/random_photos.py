"""Photos by number, whose keys come in random order, as those of uploads do, made by the million.

The number of a photo is when it came. Its rank, a 64-bit number, is its place in the order of keys: a
permutation, so two photos never have one key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.workloads import drawn_features
from processor.store import datafiles
from processor.store.datafiles import DataFile

PREFIX, SUFFIX = "photos/label-", ".jpg"
LABELS = 64
FILE_ROWS = 1024  # what a task writes of a micro-batch of 2,048 photos on two cores
BLOCKS = 16  # that are drawn; the others repeat their features

Ranks = np.ndarray[Any, np.dtype[np.uint64]]

_HEX = np.frombuffer("".join(f"{n:02x}" for n in range(256)).encode(), "S2")


def ranks(numbers: Sequence[int]) -> Ranks:
    """By splitmix64, whose steps can all be undone."""
    z = np.asarray(numbers, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def keys(places: Ranks) -> pa.Array:
    """``photos/label-LL/RANK.jpg``, where the label is the rank's first six bits."""
    return _joined(PREFIX, _labels(places), "/", _hex(places), SUFFIX)


def rank_of(key: str) -> np.uint64:
    """The inverse of :func:`keys`."""
    return np.uint64(int(key.removesuffix(SUFFIX)[-16:], 16))


def etags(places: Ranks) -> pa.Array:
    """The versions of the objects: 32 hexadecimal digits, like an MD5."""
    return _joined(_hex(~places), _hex(places))


@dataclass(frozen=True, slots=True)
class Drawn:
    """Writes photos whose features are drawn."""

    blocks: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, blocks: int = BLOCKS) -> "Drawn":
        return cls(tuple(drawn_features.drawn(blocks * FILE_ROWS, 0, FILE_ROWS)))

    def write(self, folder: str, numbers: range) -> DataFile:
        """At most FILE_ROWS of them, as a task does."""
        places = ranks(numbers)
        return self.write_rows(
            folder,
            keys(places),
            etags(places),
            _joined("label-", _labels(places)),
            numbers.start // FILE_ROWS,
        )

    def write_rows(
        self,
        folder: str,
        names: drawn_features.Strings,
        versions: drawn_features.Strings,
        labels: drawn_features.Strings,
        block: int = 0,
    ) -> DataFile:
        features = self.blocks[block % len(self.blocks)][: len(names)]
        return datafiles.write(folder, drawn_features.rows(features, names, versions, labels))


def parts(numbers: range) -> Iterator[range]:
    """As many as fit into a file each."""
    return (numbers[at : at + FILE_ROWS] for at in range(0, len(numbers), FILE_ROWS))


def _labels(places: Ranks) -> np.ndarray:
    tens, ones = np.divmod((places >> np.uint64(58)).astype(np.uint8), np.uint8(10))
    return np.stack([tens, ones], axis=1) + np.uint8(ord("0"))


def _hex(places: Ranks) -> np.ndarray:
    raw = places.astype(">u8").view(np.uint8)
    return _HEX[raw].view(np.uint8).reshape(len(places), 16)


def _joined(*columns: str | np.ndarray) -> pa.Array:
    """Strings of equal length, made of columns of characters and of constants."""
    count = next(len(each) for each in columns if not isinstance(each, str))
    wide = [
        np.broadcast_to(np.frombuffer(each.encode(), np.uint8), (count, len(each)))
        if isinstance(each, str)
        else each
        for each in columns
    ]
    text = np.concatenate(wide, axis=1)
    offsets = np.arange(0, text.size + 1, text.shape[1], dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))
