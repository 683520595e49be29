"""The sample: the photos that the report shows, by a rule that hardly changes it while the store grows.

They are those whose keys have the lowest hashes. So whether a photo is in it depends on its own key and
on how many others there are, never on their order or on chance.
"""

import hashlib
import threading

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from processor.store.datafiles import KEY

MOST_PHOTOS = 50_000  # that a browser draws at 60 frames a second
MOST_BYTES = 512 << 20  # of their features, which one task holds: with 4,096 columns 32,768 photos

Hashes = npt.NDArray[np.uint64]


def size(columns: int) -> int:
    """The most photos in a sample whose features have so many columns."""
    return min(MOST_PHOTOS, MOST_BYTES // (4 * columns))


def hashes(keys: pa.ChunkedArray | pa.Array) -> Hashes:
    """The first 8 bytes of each key's BLAKE2b, uint64 (n,)."""
    digests = (
        hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()
        for key in keys.to_pylist()
    )
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


class Sample:
    """The ``most`` rows whose keys have the lowest hashes, of a table that comes in parts. Thread-safe.

    Memory: 2 ``most`` rows and a part.
    """

    def __init__(self, most: int) -> None:
        self.population = 0  # rows offered
        self._most = most
        self._below = np.uint64(2**64 - 1)
        self._parts: list[tuple[pa.Table, Hashes]] = []
        self._changing = threading.Lock()

    def offer(self, rows: pa.Table) -> None:
        """Consider some more rows, with the column ``key``."""
        found = hashes(rows[KEY])
        with self._changing:
            self.population += len(rows)
            low = found <= self._below
            self._parts.append((rows.filter(pa.array(low)), found[low]))
            if sum(len(part) for _, part in self._parts) > 2 * self._most:
                self._shrink()

    def rows(self) -> pa.Table | None:
        """The sample, in the order of its keys; None before the first part."""
        with self._changing:
            if not self._parts:
                return None
            self._shrink()
            return self._parts[0][0].sort_by(KEY)

    def _shrink(self) -> None:
        rows = pa.concat_tables([part for part, _ in self._parts])
        found = np.concatenate([part for _, part in self._parts])
        # By key where two hashes are equal, or the order of the parts would decide.
        order = np.lexsort((np.asarray(pc.rank(rows[KEY])), found))[: self._most]
        if len(order) == self._most:
            self._below = found[order[-1]]
        self._parts = [(rows.take(pa.array(order)).combine_chunks(), found[order])]
