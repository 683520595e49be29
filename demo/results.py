"""The results: what the service left in the bucket, fetched, written to files and checked."""

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from common import aws
from common.layout import StoreLayout, split
from demo.errors import DemoError
from processor.matrix import models
from processor.service.status import QueueState, Status
from processor.store import delta, objects
from processor.store.schema import FEATURES

FEATURES_FILE = "features.parquet"
MATRIX_FILE = "reduced.csv"
REPORT_FILE = "report.html"
MAP_FILE = "map.parquet"
SHOWN = 3  # keys named in an error


@dataclass(frozen=True, slots=True)
class Results:
    """``keys``, ``labels`` and ``points`` (n, 2), the first two components, are rows of the matrix.

    ``variance`` (K,) are the components' shares of it; ``rejects`` have key, reason and detail.
    """

    network: str
    columns: int
    feature_bytes: int
    keys: list[str]
    labels: list[str | None]
    points: NDArray[np.float32]
    variance: NDArray[np.float64]
    rejects: list[dict[str, str]]

    @property
    def reasons(self) -> Counter[str]:
        return Counter(reject["reason"] for reject in self.rejects)


def fetch(store: StoreLayout, state: Status, dropped: Collection[str], out: Path) -> Results:
    """Write features, matrix, report and map to ``out``; ``state`` is what ``status`` reports.

    Raises :class:`DemoError` unless every photo dropped has exactly one row in features, matrix and
    CSV, or else one reject (or waits), and the queue and its dead-letter queue are empty.
    """
    rejects = _rejects(store.rejects) + _rejects(store.pending, "waits: ")
    if not state["photos"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in _reasons(rejects).items())
        raise DemoError(f"none of the photos could be used ({reasons or 'no rows'}): name others")
    _check_empty(state["queue"])
    with _whole(out / FEATURES_FILE) as target:
        columns = _write_features(store.features, target)
        size = target.stat().st_size
    if not objects.exists(store.report_page):
        raise DemoError("the service wrote no report; its log says why")
    _download(store.reduced_csv, out / MATRIX_FILE)
    _download(store.report_page, out / REPORT_FILE)
    _download(store.report_map, out / MAP_FILE)
    matrix = _matrix(store.reduced)
    keys = matrix["key"].to_pylist()
    check(
        expected=set(dropped) - {reject["key"] for reject in rejects},
        rows={
            FEATURES_FILE: pq.read_table(out / FEATURES_FILE, columns=["key"])["key"].to_pylist(),
            "the reduced table": keys,
            MATRIX_FILE: _csv_keys(out / MATRIX_FILE),
        },
    )
    name = state["reduced"]["model"]
    model = models.read(store, name) if name else None
    if model is None:
        raise DemoError(f"the PCA model {name} is not in the bucket")
    axes = [matrix[name].to_numpy() for name in ("pc1", "pc2") if name in matrix.column_names]
    return Results(
        network=state["features"]["model"] or "",
        columns=columns,
        feature_bytes=size,
        keys=keys,
        labels=matrix["label"].to_pylist(),
        points=np.column_stack([*axes, np.zeros_like(axes[0])])[:, :2],
        variance=np.asarray(model.pca.explained_variance_ratio_, np.float64),
        rejects=rejects,
    )


def check(expected: Collection[str], rows: Mapping[str, Sequence[str]]) -> None:
    """Raise :class:`DemoError` unless each of ``rows`` has every expected key exactly once."""
    wanted = set(expected)
    for name, keys in rows.items():
        found = set(keys)
        if len(found) != len(keys):
            raise DemoError(f"{name} has {len(keys) - len(found)} rows too many: keys repeat")
        if missing := wanted - found:
            raise DemoError(f"{name} lacks {_named(missing)}")
        if foreign := found - wanted:
            raise DemoError(f"{name} has rows for {_named(foreign)} that were not uploaded")


def _download(uri: str, file: Path) -> None:
    bucket, key = split(uri)
    with _whole(file) as target:
        aws.s3().download_file(bucket, key, str(target))


def _check_empty(queue: QueueState) -> None:
    if waiting := queue["visible"] + queue["in_flight"]:
        raise DemoError(f"the service ended with {waiting} messages still in the queue")
    if queue["dead_letters"]:
        raise DemoError(f"{queue['dead_letters']} messages became dead letters")


def _write_features(folder: str, target: Path) -> int:
    """Copy the table batch by batch; the number of features in a row."""
    columns = 0
    table = delta.open_table(folder)
    if table is None:
        raise DemoError(f"{folder} is gone")
    with pq.ParquetWriter(target, FEATURES) as writer:
        for batch in table.dataset().to_batches(batch_size=4096):
            writer.write_table(pa.Table.from_batches([batch]).select(FEATURES.names).cast(FEATURES))
            if len(batch):
                columns = len(batch["features"][0])
    return columns


def _matrix(folder: str) -> pa.Table:
    """Key, label and at most two components of every row."""
    table = delta.open_table(folder)
    if table is None:
        raise DemoError(f"there is no matrix at {folder}, although there are features")
    dataset = table.dataset()
    wanted = [name for name in ("key", "label", "pc1", "pc2") if name in dataset.schema.names]
    return dataset.to_table(columns=wanted)


def _rejects(folder: str, before: str = "") -> list[dict[str, str]]:
    """Key, reason and detail of each row; ``before`` is put before the reasons."""
    table = delta.open_table(folder)
    if table is None:
        return []
    columns = ["key", "reason", "detail"]
    found = table.dataset().to_table(columns=columns).sort_by("key")
    return [{**row, "reason": f"{before}{row['reason']}"} for row in found.to_pylist()]


def _reasons(rejects: Sequence[Mapping[str, str]]) -> Counter[str]:
    return Counter(reject["reason"] for reject in rejects)


def _csv_keys(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as lines:
        return [row["key"] for row in csv.DictReader(lines)]


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A place to write to that becomes ``path`` only if all goes well."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _named(keys: Collection[str]) -> str:
    some = ", ".join(sorted(keys)[:SHOWN])
    return f"{len(keys)} photos ({some}{', …' if len(keys) > SHOWN else ''})"
