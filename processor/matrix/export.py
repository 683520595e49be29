"""The export: ``reduced.csv``, the matrix of the last refit as one object, replaced whole."""

import logging
import time

from common.layout import StoreLayout
from processor.matrix import tasks
from processor.matrix.mirror import mirrored_version, model_name
from processor.spark.background import Background
from processor.store import delta, objects

log = logging.getLogger(__name__)


class CsvExport:
    """Writes the CSV of one store. Used by one thread."""

    def __init__(self, layout: StoreLayout, background: Background) -> None:
        self._layout = layout
        self._background = background
        self._written: str | None = None  # the model of the CSV, when last looked up

    def update(self, current: str | None) -> None:
        """Write ``reduced.csv`` if it is not of the matrix's model, whichever service fitted that.

        ``current`` is the name of the model that the caller last projected the matrix with, if any;
        if it is that of the CSV, nothing is read. Readers see the old CSV or the new one, whole.
        """
        if current and current == self._written:
            return
        table = delta.open_table(self._layout.reduced)
        name = model_name(table) if table else None
        if table is None or name is None:
            return
        target = self._layout.reduced_csv
        if self._written == name:
            return
        self._written = objects.metadata(target).get("model", "")  # perhaps by another service
        if self._written == name:
            return
        began = time.monotonic()
        folder, columns = self._layout.reduced, table.columns
        metadata = {
            "model": name,
            "reduced-version": str(table.table_version),
            "features-version": str(mirrored_version(table)),
        }
        (rows,) = self._background.run(
            [sorted(table.paths())],  # one share: one task writes them all
            lambda share: [
                tasks.write_csv(paths, folder, columns, target, metadata) for paths in share
            ],
        )
        self._written = name
        log.info(
            "wrote reduced.csv",
            extra={"rows": rows, "seconds": round(time.monotonic() - began, 3), **metadata},
        )
