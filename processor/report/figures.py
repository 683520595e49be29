"""The figures: the summary of a store, from its tables, their log and its models."""

import logging
import platform
from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from common.layout import StoreLayout, split
from processor.matrix import models, pca, statistics_cache
from processor.matrix.mirror import mirrored_version
from processor.matrix.models import NamedModel
from processor.report import reasons
from processor.report.draw import Drawn
from processor.report.summary import Fit, Group, Summary
from processor.spark.background import Background
from processor.store import delta, objects
from processor.store.delta import Table

log = logging.getLogger(__name__)

WEEK = timedelta(days=7)
MOST_COMMITS = 2000  # read for the photos of each hour, so that a busy store costs no more
COMMITS_AT_ONCE = 200
MOST_FITS = 20  # each is read whole, 0.1 MB with 512 columns
MANY_COLUMNS = 1024  # of more, the components that were best today would take half a minute
PACKAGES = ("pyspark", "deltalake", "pyarrow", "numpy", "pillow")


def summary(
    layout: StoreLayout, reduced: Table, model: NamedModel, drawn: Drawn, background: Background
) -> Summary:
    """The summary of a store whose matrix is ``reduced``, of ``model``, from which ``drawn`` was drawn.

    The rest is of now. Reads rejects/ and pending/ in background tasks, MOST_COMMITS entries of the log
    and MOST_FITS models at most.
    """
    now = datetime.now(UTC)
    features = delta.open_table(layout.features)
    mirrored = mirrored_version(reduced)
    return Summary(
        at=now,
        bucket=split(layout.root)[0],
        photos=drawn.population,
        labels=drawn.labels,
        kinds=drawn.kinds,
        rejects=_groups(layout.rejects, background),
        pending=_groups(layout.pending, background),
        stored=stored(features, now) if features else [],
        explained_variance=[float(each) for each in model.pca.explained_variance_ratio_],
        captured=_captured(layout, reduced, model),
        fits=fits(layout),
        network=features.network if features else "",
        versions={
            "features/": str(mirrored),
            "reduced/": str(reduced.table_version),
            "Python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    )


def stored(features: Table, now: datetime) -> list[tuple[datetime, int]]:
    """The photos stored in each hour of the last week, from the commits; the oldest hour first.

    Hours before the last MOST_COMMITS commits, or before the first entry that the log still has, are
    left out, and so is the one in which these begin.
    """
    photos: Counter[datetime] = Counter()
    last = features.table_version
    oldest: datetime | None = None  # the hour of the last entry that counts
    whole = False
    for newest in range(last, max(last - MOST_COMMITS, -1), -COMMITS_AT_ONCE):
        versions = range(newest, max(newest - COMMITS_AT_ONCE, last - MOST_COMMITS, -1), -1)
        for number, entry in zip(versions, features.metadata_of(versions), strict=True):
            if entry is None:
                return _hours(photos, oldest, now, whole=False)
            at = datetime.fromtimestamp(entry.get("timestamp", 0) / 1000, UTC)
            if at < now - WEEK:
                return _hours(photos, _hour(now - WEEK), now, whole=False)
            oldest, whole = _hour(at), number == 0
            photos[oldest] += int(entry.get("photos", 0))
    return _hours(photos, oldest, now, whole=whole)


def _hours(
    photos: Counter[datetime], first: datetime | None, now: datetime, *, whole: bool
) -> list[tuple[datetime, int]]:
    """Each hour from ``first`` on, or after it unless it is ``whole``."""
    if first is None:
        return []
    hour = first if whole else first + timedelta(hours=1)
    found = []
    while hour <= now:
        found.append((hour, photos[hour]))
        hour += timedelta(hours=1)
    return found


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def fits(layout: StoreLayout) -> list[Fit]:
    """The newest MOST_FITS models, the newest first; those of interrupted refits too."""
    uris = sorted((each.uri for each in objects.listing(layout.pca_models)), reverse=True)
    names = [uri.rpartition("/")[2].removesuffix(".npz") for uri in uris[:MOST_FITS]]
    found = []
    for name in names:
        try:
            model = models.read(layout, name)
        except ValueError as error:
            log.warning("the model %s is damaged: %s", name, error)
            continue
        if model:
            found.append(_fit(model))
    return sorted(found, key=lambda fit: fit.at, reverse=True)  # names only tell seconds apart


def _fit(model: NamedModel) -> Fit:
    about = model.pca.about
    moved = about.get("drift_movement")
    return Fit(
        model.name,
        datetime.fromisoformat(about["fitted_at"]),
        model.pca.n_samples_,
        about["reason"],
        len(model.pca.components_),
        None if moved is None else float(moved),
    )


def _captured(layout: StoreLayout, reduced: Table, model: NamedModel) -> float | None:
    """What the components capture of the matrix's photos; None unless their statistics are cached."""
    if len(model.pca.mean_) > MANY_COLUMNS:
        return None
    cached = statistics_cache.load(layout)
    files = {path.removeprefix(f"{model.name}/") for path in reduced.paths()}
    if cached is None or cached.lacking or cached.files != files:
        return None
    best = pca.fit(cached.statistics, len(model.pca.components_))
    return model.pca.captured(cached.statistics, best)


def _groups(folder: str, background: Background) -> list[Group]:
    table = delta.open_table(folder)
    if table is None or not table.rows:
        return []
    paths = tuple(table.paths())
    (found,) = background.run(
        [folder], lambda folders: [reasons.groups(each, paths) for each in folders]
    )
    return found
