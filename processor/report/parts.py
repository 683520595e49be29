"""Parts: what one task of the report makes for another, as objects in the store.

The results of tasks would be in the heap of Spark's JVM. A part is an Arrow stream in a folder of
:func:`.partials.folder`, under a name that the driver passes on.
"""

import uuid

import pyarrow as pa

from processor.matrix import partials
from processor.store import objects


def write(folder: str, table: pa.Table) -> str:
    """Write a part under a name never used before; the name."""
    name = f"{uuid.uuid4().hex}.arrow"
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    objects.put(f"{folder}/{name}", bytes(sink.getvalue()))
    return name


def read(folder: str, name: str) -> pa.Table:
    """The part of that name. Raises FileNotFoundError if it is gone."""
    return pa.ipc.open_stream(partials.read(folder, name)).read_all()
