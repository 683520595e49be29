"""The export: ``reduced.csv``, the matrix of the last refit as one object, replaced whole."""

import logging
import time

from common.layout import StoreLayout
from processor.matrix import tasks
from processor.matrix.mirror import mirrored_version, model_name
from processor.spark.background import Background
from processor.store import delta, objects
from processor.store.delta import Table
from processor.store.lease import Lease

log = logging.getLogger(__name__)

CSV_OVER_PARQUET = 3  # bytes; of 64 components it is 2.6


class CsvExport:
    """Writes the CSV of one store. Used by one thread."""

    def __init__(self, layout: StoreLayout, background: Background) -> None:
        self._layout = layout
        self._background = background
        self._lease = Lease(layout.csv_lease)
        self._written: str | None = None  # the model of the CSV, when last looked up

    def update(self, current: str | None, *, wait: bool = False) -> None:
        """Write ``reduced.csv`` if it is not of the matrix's model, whichever service fitted that.

        ``current`` is the name of the model that the caller last projected the matrix with, if any;
        if it is that of the CSV, nothing is read. Readers see the old CSV or the new one, whole. While
        another service writes it, nothing is done; with ``wait``, its end is waited for.
        """
        if (current and current == self._written) or self._unwritten() is None:
            return
        with self._lease.held(wait=wait) as ours:
            table = self._unwritten() if ours else None  # another may have been quicker
            if table:
                self._write(table)

    def _unwritten(self) -> Table | None:
        """The newest matrix; None if there is none, or the CSV is of its model."""
        table = delta.open_table(self._layout.reduced)
        name = model_name(table) if table else None
        if name is None or name == self._written:
            return None
        self._written = objects.metadata(self._layout.reduced_csv).get("model", "")
        return None if name == self._written else table

    def _write(self, table: Table) -> None:
        began = time.monotonic()
        name = model_name(table) or ""
        folder, columns, target = self._layout.reduced, table.columns, self._layout.reduced_csv
        sizes = table.sizes()
        about_bytes = CSV_OVER_PARQUET * sum(sizes.values())
        metadata = {
            "model": name,
            "reduced-version": str(table.table_version),
            "features-version": str(mirrored_version(table)),
        }
        (rows,) = self._background.run(
            [sorted(sizes)],  # one share: one task writes them all
            lambda share: [
                tasks.write_csv(paths, folder, columns, target, metadata, about_bytes)
                for paths in share
            ],
        )
        self._written = name
        log.info(
            "wrote reduced.csv",
            extra={"rows": rows, "seconds": round(time.monotonic() - began, 3), **metadata},
        )
