"""The draw: the sample of one version of the matrix, and each photo's neighbours in it; a Spark task.

Like all that runs in a worker it uses no session, no index and no queue.
"""

import logging
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from processor.answers.nearest import unit
from processor.errors import RejectedImage
from processor.photos import containers
from processor.report import map_file, neighbours, parts
from processor.report.points import NEIGHBOURS, THUMBNAIL_PIXELS
from processor.report.sample import Sample
from processor.store import datafiles, objects
from processor.store.datafiles import KEY

log = logging.getLogger(__name__)

READERS = 2  # data files read at a time, each whole
BATCH_ROWS = 4096
MOST_LABELS = 1000  # named; a folder for each user may make as many labels as there are photos
MOST_COUNTED = 100_000  # further labels are left out, or they would take memory without a bound

Photo = tuple[str, str]  # key and version


@dataclass(frozen=True, slots=True)
class Matrix:
    """One version of the matrix, and the features that it mirrors: the same ``paths`` in both.

    Those in ``reduced`` are under the name of the model.
    """

    reduced: str
    model: str
    features: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample. ``part`` has its points, ``missing`` are the photos in it that lack a thumbnail.

    Of the whole matrix: ``population``, its rows; ``labels``, those with each of the MOST_LABELS most
    frequent labels, the most first ("" for none); ``kinds``, how many labels there are.
    """

    part: str
    missing: list[Photo]
    population: int
    labels: list[tuple[str, int]]
    kinds: int


def draw(matrix: Matrix, most: int, previous: Sequence[str], folder: str) -> Drawn:
    """Draw ``most`` rows at most, find their neighbours, and write all that as a part in ``folder``.

    Thumbnails are those of the first of the ``previous`` maps that has one of the same key and version.
    May be repeated. Memory: the features of the sample, READERS data files, and the previous maps.
    Raises FileNotFoundError if a vacuum has deleted a file of this version.
    """
    sample, labels = _sample(matrix, most)
    rows = sample.rows()
    if rows is None:
        raise FileNotFoundError(f"{matrix.reduced} has no data files")
    features, versions = _features(matrix, rows[KEY].combine_chunks())
    positions, cosines = neighbours.nearest(features, NEIGHBOURS)
    del features
    photos = list(zip(rows[KEY].to_pylist(), versions, strict=True))
    known = _known(previous, photos)
    points = pa.table(
        {
            **{name: rows[name] for name in ("key", "label", "pc1", "pc2")},
            "version": versions,
            "neighbours": pa.FixedSizeListArray.from_arrays(positions.ravel(), NEIGHBOURS),
            "cosines": pa.FixedSizeListArray.from_arrays(cosines.ravel(), NEIGHBOURS),
            "thumbnail": pa.array([known.get(photo) for photo in photos], pa.binary()),
        }
    )
    missing = [photo for photo in photos if photo not in known]
    return Drawn(
        parts.write(folder, points),
        missing,
        sample.population,
        labels.most_common(MOST_LABELS),
        len(labels.keys() - {""}),
    )


def _sample(matrix: Matrix, most: int) -> tuple[Sample, Counter[str]]:
    sample, labels, counting = Sample(most), Counter[str](), threading.Lock()

    def read(path: str) -> None:
        rows = datafiles.read(matrix.reduced, f"{matrix.model}/{path}")
        if "pc2" not in rows.column_names:  # of one component
            rows = rows.append_column("pc2", pa.array(np.zeros(len(rows), np.float32)))
        rows = rows.select(["key", "label", "pc1", "pc2"])
        sample.offer(rows)
        counted = pc.value_counts(rows["label"]).to_pylist()
        with counting:
            for each in counted:
                label = each["values"] or ""
                if not label or label in labels or len(labels) < MOST_COUNTED:
                    labels[label] += each["counts"]

    _each(read, matrix.paths)
    return sample, labels


def _features(matrix: Matrix, keys: pa.Array) -> tuple[neighbours.Rows, list[str]]:
    """The unit features and the versions of these photos, in the order of ``keys``."""
    versions: list[str | None] = [None] * len(keys)
    found: neighbours.Rows | None = None
    placing = threading.Lock()

    def read(path: str) -> None:
        nonlocal found
        columns = ["key", "version", "features"]
        for batch in datafiles.batches(matrix.features, path, columns, BATCH_ROWS):
            places = pc.index_in(batch[KEY].cast(pa.string()), value_set=keys)
            wanted = np.flatnonzero(np.asarray(places.is_valid()))
            if not len(wanted):
                continue
            rows = datafiles.features_in(batch)
            with placing:
                if found is None:
                    found = np.empty((len(keys), rows.shape[1]), np.float32)
                at = places.drop_null().to_numpy()
                found[at] = unit(rows[wanted])
                of_these = batch["version"].take(pa.array(wanted)).to_pylist()
                for place, version in zip(at, of_these, strict=True):
                    versions[place] = version

    _each(read, matrix.paths)
    known = [version for version in versions if version is not None]
    if found is None or len(known) != len(keys):
        raise ValueError(f"{matrix.reduced} has keys that {matrix.features} has not")
    return found, known


def _each(read: Callable[[str], None], paths: Sequence[str]) -> None:
    with ThreadPoolExecutor(READERS) as pool:
        for _ in pool.map(read, paths):
            pass


def _known(previous: Sequence[str], photos: Iterable[Photo]) -> dict[Photo, bytes]:
    """The thumbnails of these photos that the previous maps have; of one that is damaged, none."""
    known: dict[Photo, bytes] = {}
    wanted = set(photos)
    for uri in reversed(previous):
        file = objects.get(uri)
        try:
            found = map_file.thumbnails(file) if file is not None else {}
        except ValueError as error:
            log.warning("no thumbnail is taken from %s, which is damaged: %s", uri, error)
            continue
        known |= {
            photo: thumbnail
            for photo, thumbnail in found.items()
            if photo in wanted and _may_be_ours(thumbnail)
        }
    return known


def _may_be_ours(thumbnail: bytes) -> bool:
    """Whether it is a WebP as small as ours: whoever may write to the bucket may have made the map."""
    try:
        sides = containers.webp_size(thumbnail, THUMBNAIL_PIXELS**2)
    except (RejectedImage, EOFError, struct.error):
        return False
    return thumbnail.startswith(b"RIFF") and max(sides) <= THUMBNAIL_PIXELS
