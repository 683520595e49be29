"""The schemas of the tables, which anybody's tools may read.

To change a column here is to change the contract with everybody who reads the tables.
"""

import pyarrow as pa

_text = pa.string()
_time = pa.timestamp("us", tz="UTC")

FEATURES = pa.schema(
    [
        pa.field("key", _text, nullable=False),
        pa.field("version", _text, nullable=False),
        pa.field("label", _text),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("event_time", _time, nullable=False),
        pa.field("model", _text, nullable=False),
        pa.field(
            "features",
            pa.list_(pa.field("element", pa.float32(), nullable=False)),
            nullable=False,
        ),
    ]
)
REJECTS = pa.schema(
    [
        pa.field("key", _text, nullable=False),
        pa.field("version", _text, nullable=False),
        pa.field("reason", _text, nullable=False),
        pa.field("detail", _text, nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("at", _time, nullable=False),
    ]
)
PENDING = pa.schema([*REJECTS, pa.field("retry_at", _time, nullable=False)])


def reduced(components: int) -> pa.Schema:
    """Columns of the reduced matrix: ``key``, ``label``, ``pc1`` … ``pcK``."""
    pcs = [pa.field(f"pc{n}", pa.float32(), nullable=False) for n in range(1, components + 1)]
    return pa.schema([pa.field("key", _text, nullable=False), pa.field("label", _text), *pcs])
