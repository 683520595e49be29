"""The report: the page and its map, of the matrix as it is, written again after each refit."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

from common.layout import StoreLayout
from processor.errors import ServiceError, StoreError
from processor.matrix import models, partials
from processor.matrix.mirror import mirrored_version, model_name
from processor.report import draw, figures, files, sample, thumbnails
from processor.report.draw import Drawn, Matrix, Photo
from processor.report.files import Page, Targets
from processor.report.thumbnails import Source
from processor.spark.background import Background
from processor.spark.isolate import isolate
from processor.store import delta, objects
from processor.store.delta import Table
from processor.store.lease import Lease

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

ROUND = 512  # photos of which thumbnails are made in one job: other background tasks wait for it
NO_MATRIX = "there is no matrix to report on yet: run the service first"
LOCAL = Targets("report.html", "map.parquet")  # in a folder


class Report:
    """Writes the report of one store. Used by one thread.

    All that is costly runs in background tasks: they have no slot of ingestion's, and a decoder that
    crashes takes a worker of theirs with it, and the thumbnail of one photo. This process holds the keys
    of the sample, not its features or pictures.
    """

    def __init__(
        self, layout: StoreLayout, background: Background, source: Source, page: Page
    ) -> None:
        """``page`` makes the page; it is called in a task."""
        self._layout = layout
        self._background = background
        self._source = source
        self._page = page
        self._lease = Lease(layout.report_lease)
        self._targets = Targets(layout.report_page, layout.report_map)

    def update(self, *, wait: bool = False) -> bool:
        """Write the report if it is not of the matrix's model, whichever service fitted that.

        Readers see the old page or the new one, whole, and so with the map, which is written first.
        While another service writes it, or is dead but still holds the lease, nothing is done, and the
        result is False; with ``wait``, the end of that is waited for. Raises like :meth:`write`.
        """
        # Again after each: who was stopped meanwhile, and lost the lease, has written an old one over
        # a new one.
        while self._unwritten():
            with self._lease.held(wait=wait) as ours:
                if not ours:
                    return False
                reduced = self._unwritten()  # another may have been quicker
                if reduced:
                    self._write(reduced, self._targets)
        return True

    def write(self, out: Path | None = None) -> Targets:
        """Write the report of the matrix as it is now, in the bucket or to a folder; where.

        Raises :class:`ServiceError` if there is no matrix, and :class:`StoreError` if an object in the
        place of the page or of the map is somebody else's.
        """
        reduced = delta.open_table(self._layout.reduced)
        if reduced is None or model_name(reduced) is None:
            raise ServiceError(NO_MATRIX)
        if out:
            folder = out.resolve()  # a worker may have another working directory
            targets = Targets(str(folder / LOCAL.page), str(folder / LOCAL.map))
            self._write(reduced, targets)
            return targets
        with self._lease.held(wait=True):
            self._write(reduced, self._targets)
        return self._targets

    def _unwritten(self) -> Table | None:
        """The newest matrix; None if there is none, or page and map are of its model."""
        reduced = delta.open_table(self._layout.reduced)
        name = model_name(reduced) if reduced else None
        if name is None:
            return None
        both = self._targets.map, self._targets.page
        written = all(objects.metadata(uri).get("model") == name for uri in both)
        return None if written else reduced

    def _write(self, reduced: Table, targets: Targets) -> None:
        began = time.monotonic()
        name = model_name(reduced) or ""
        model = models.read(self._layout, name)
        if model is None:
            raise StoreError(f"{self._layout.pca_model(name)} is lost: run refit")
        _check_ours(targets)
        about = {
            "model": name,
            "network": model.pca.about["network"],
            "reduced-version": str(reduced.table_version),
            "features-version": str(mirrored_version(reduced)),
        }
        with partials.folder(self._layout) as folder:
            drawn = self._draw(reduced, name, sample.size(len(model.pca.mean_)), targets, folder)
            made = self._thumbnails(drawn.missing, folder)
            summary = figures.summary(self._layout, reduced, model, drawn, self._background)
            page = self._page
            run = self._background.run if targets.page.startswith("s3://") else _in_place
            (size,) = run(
                [replace(drawn, missing=[])],  # of which it needs none
                lambda share: [
                    files.write(each, made, folder, summary, page, targets, about) for each in share
                ],
            )
        log.info(
            "wrote the report",
            extra={
                "photos": drawn.population,
                "photos_read": len(drawn.missing),
                "bytes": size,
                "seconds": round(time.monotonic() - began, 3),
                **about,
            },
        )

    def _draw(self, reduced: Table, name: str, most: int, targets: Targets, folder: str) -> Drawn:
        paths = tuple(sorted(path.removeprefix(f"{name}/") for path in reduced.paths()))
        matrix = Matrix(self._layout.reduced, name, self._layout.features, paths)
        previous = tuple(dict.fromkeys((targets.map, self._layout.report_map)))
        (drawn,) = self._background.run(
            [matrix], lambda share: [draw.draw(each, most, previous, folder) for each in share]
        )
        return drawn

    def _thumbnails(self, photos: Sequence[Photo], folder: str) -> list[str]:
        """The parts with the thumbnails of these photos, but of those over which a worker died."""
        background, source = self._background, self._source

        def job(shares: Sequence[Sequence[Photo]]) -> list[str]:
            return background.run(
                shares,
                lambda some: thumbnails.make(chain.from_iterable(some), source, folder),
            )

        made: list[str] = []
        for start in range(0, len(photos), ROUND):
            done = isolate(photos[start : start + ROUND], job, background.slots())
            made += done.results
            for key, _ in done.suspects:
                log.warning("a worker died over its thumbnail; it has none", extra={"key": key})
            if done.untried:
                log.warning("workers die over one photo after another: no more thumbnails are made")
                break
        return made


def _in_place(items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
    """As a background task, but in this process, which alone sees the folder of somebody's choice."""
    return list(work(items))


def _check_ours(targets: Targets) -> None:
    for uri in (targets.page, targets.map):
        if uri.startswith("s3://") and objects.exists(uri) and "model" not in objects.metadata(uri):
            raise StoreError(
                f"{uri} is not a report of ours: move it away, or set pca.report = false"
            )
