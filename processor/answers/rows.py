"""The rows of features/, read in blocks: from all data files, several at a time, each once.

Memory: READERS data files, of 8 MB each once they are merged, and a block of each.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from common.layout import StoreLayout
from processor.network.spec import Features
from processor.store import datafiles, delta

READERS = 2
BLOCK_ROWS = 2048  # 4 MB of 512 columns


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some rows of one data file: keys, labels (null where there is none), features (n, d)."""

    keys: pa.Array
    labels: pa.Array
    features: Features


@dataclass(frozen=True, slots=True, eq=False)
class StoredRows:
    """features/ at one version. ``network``: the model id of the network that computed all rows.

    ``sizes``: bytes of each data file by its path in ``folder``. ``photos``: rows in all of them.
    """

    folder: str
    table_version: int
    network: str
    photos: int
    sizes: dict[str, int]

    @classmethod
    def newest(cls, layout: StoreLayout) -> Self | None:
        """The rows as they are now; None before the first micro-batch."""
        table = delta.open_table(layout.features)
        if table is None:
            return None
        return cls(
            table.folder, table.table_version, table.network, table.rows, dict(table.sizes())
        )

    def scan(self, take: Callable[[Block], None], paths: Sequence[str] | None = None) -> None:
        """Call ``take`` with the blocks of some data files, by default all; from several threads.

        Raises what it raises, and FileNotFoundError if a vacuum has deleted a file of this version.
        """

        def read(path: str) -> None:
            columns = ["key", "label", "features"]
            for batch in datafiles.batches(self.folder, path, columns, BLOCK_ROWS):
                take(Block(batch["key"], batch["label"], datafiles.features_in(batch)))

        with ThreadPoolExecutor(READERS) as pool:
            for _ in pool.map(read, sorted(self.sizes) if paths is None else paths):
                pass
