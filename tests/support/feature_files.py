"""Feature files: features without photos, in tables on the local disk or in a bucket."""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.layout import StoreLayout
from processor.store import datafiles, delta
from processor.store.datafiles import DataFile
from processor.store.schema import FEATURES

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NETWORK = "vgg16-drawn"


def features_table(features: npt.NDArray[np.float32], first: int = 0) -> pa.Table:
    """Rows as tasks of ingestion write them, keys counting from ``first``; every other has a label."""
    count = len(features)
    columns = {
        "key": [f"photos/{first + n:06}.jpg" for n in range(count)],
        "version": ["1"] * count,
        "label": [f"L{n}" if n % 2 else None for n in range(first, first + count)],
        "width": [40] * count,
        "height": [30] * count,
        "event_time": [NOON] * count,
        "model": [NETWORK] * count,
        "features": list(features),
    }
    return pa.table(columns, schema=FEATURES)


def commit_features(
    layout: StoreLayout, *tables: pa.Table, removed: tuple[DataFile, ...] = ()
) -> list[DataFile]:
    """One transaction of the features table, which adds one file for each of ``tables``."""
    table = delta.open_table(layout.features)
    table = table or delta.create_table(layout.features, FEATURES, NETWORK)
    added = [datafiles.write(layout.features, each) for each in tables]
    table.commit(FEATURES, added, [each.path for each in removed])
    return added
