"""A compaction that kills its own process: ``python -m tests.support.killed_compaction FOLDER …``.

The table has one column, ``key``; the other arguments are those of :mod:`tests.support.killed_refit`.
"""

import sys

import pyarrow as pa

from processor.store.compaction import compact
from tests.support.in_process import InThisProcess
from tests.support.killed_refit import arm

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False)])


def main(folder: str, *killed: str) -> None:
    arm(*killed)
    compact(folder, SCHEMA, InThisProcess())


if __name__ == "__main__":
    main(*sys.argv[1:])
