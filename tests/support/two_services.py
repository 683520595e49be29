"""Two services that settle outcomes in one store on the local disk, and outcomes to settle."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from common.layout import StoreLayout
from processor.pipeline.feature_store import FeatureStore, Settled
from processor.pipeline.outcomes import Extracted, Kind, Outcome
from processor.store import datafiles, delta
from tests.support.feature_files import features_table


class Services:
    """Two services on one store, and the rows that a reader sees."""

    def __init__(self, folder: Path) -> None:
        self.layout = StoreLayout(f"{folder}/")
        self.stores = [FeatureStore.open(self.layout, "network", folder / name) for name in "ab"]

    def result(self, *outcomes: Outcome) -> Extracted:
        """The result of a task with these outcomes."""
        stored = [each for each in outcomes if each.kind is Kind.STORED]
        if not stored:
            return Extracted(None, outcomes)
        table = features_table(np.ones((len(stored), 4), np.float32))
        keys, versions = zip(*((each.key, each.object_version) for each in stored), strict=True)
        for name, values in (("key", keys), ("version", versions)):
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.schema.field(at), pa.array(values, pa.string()))
        return Extracted(datafiles.write(self.layout.features, table), outcomes)

    def settle(self, *outcomes: Outcome, by: int = 0) -> Settled:
        store = self.stores[by]
        store.features.refresh()
        results = [self.result(*outcomes)]
        waiting = store.pending.rows([outcome.key for outcome in outcomes])
        version = store.features.table_version
        return store.settle(results, version, unchecked, {"batch": 1}, waiting)

    def rows(self, name: str) -> dict[str, dict]:
        table = delta.open_table(getattr(self.layout, name))
        assert table
        rows = table.dataset().to_table().to_pylist()
        assert len({row["key"] for row in rows}) == len(rows) == table.rows
        return {row["key"]: row for row in rows}

    def versions(self) -> dict[str, str]:
        return {key: row["version"] for key, row in self.rows("features").items()}


def unchecked(outcome: Outcome) -> bool:
    raise AssertionError(f"S3 was checked again for {outcome.key}")


def stored(key: str, version: str = "1") -> Outcome:
    return Outcome(key, Kind.STORED, version)


def rejected(key: str, version: str = "1", reason: str = "empty") -> Outcome:
    return Outcome(key, Kind.REJECTED, version, reason, "why")


def pending(key: str, version: str = "1", reason: str = "forbidden") -> Outcome:
    return Outcome(key, Kind.PENDING, version, reason, "why")


def gone(key: str) -> Outcome:
    return Outcome(key, Kind.GONE)


def unchanged(key: str, version: str = "1") -> Outcome:
    return Outcome(key, Kind.UNCHANGED, version)
