"""The mirror: the data files of ``reduced/`` kept in step with those of ``features/``, file by file.

Every data file of ``features/`` has one counterpart in ``reduced/``, named ``MODEL/FILE``: the same
rows, projected with the PCA model ``MODEL``. So what the matrix lacks is the difference of two sets of
names, whatever has happened: new photos, replaced and removed ones, a compaction, a crash. A refit is
the same step with another model, for which every counterpart is missing. Where it is known that a
compaction has only moved rows, so are their counterparts, and nothing is projected again.

Each step is one Delta transaction, which records the version of ``features/`` that the matrix mirrors
(application ``features``). A reader sees the matrix before or after it.
"""

import time
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from common.layout import StoreLayout
from processor.matrix import tasks
from processor.matrix.models import NamedModel
from processor.matrix.pca import PCA
from processor.matrix.refit_policy import SinceFit
from processor.matrix.snapshot import FeaturesSnapshot
from processor.matrix.tasks import Projected
from processor.spark.background import Background
from processor.store import delta, schema
from processor.store.datafiles import DataFile, Swap
from processor.store.delta import Table

MIRRORS = "features"  # the application whose version says which features the matrix mirrors
HISTORY = 10  # log entries to look back for the last step


class Mirror:
    """Brings the matrix of one store to given features and a given model. Used by one thread."""

    def __init__(self, layout: StoreLayout, background: Background) -> None:
        self._layout = layout
        self._background = background

    def update(
        self,
        features: FeaturesSnapshot,
        reduced: Table | None,
        model: NamedModel,
        since: SinceFit,
        refit_began: float | None = None,
        swaps: Iterable[Swap] = (),
        projected: dict[str, Projected] | None = None,
    ) -> int | None:
        """Make ``reduced/`` the projection of these features; None if it already is.

        Returns the number of rows projected. ``since`` is what the log says of the time between the
        model's fit and this step; if the step is the rest of a refit, ``refit_began`` is when that
        began (``time.monotonic``). ``swaps`` are compactions since the last step, as far as known.
        Raises :class:`CommitConflict`: nothing was changed then, and the files written are orphaned
        unless the step is repeated at once, with the same ``projected``: what was projected before, by
        the path in ``reduced/``, to which this call adds.
        """
        columns = schema.reduced(len(model.pca.components_))
        if reduced is None:
            reduced = delta.create_table(self._layout.reduced, columns, "")
        wanted = {f"{model.name}/{path}": path for path in features.sizes}
        present = reduced.paths()
        if wanted.keys() == present and mirrored_version(reduced) == features.table_version:
            return None
        lacking = {wanted[path] for path in wanted.keys() - present}
        mirrored = {path.removeprefix(f"{model.name}/") for path in present}
        moved = [each for each in swaps if _may_follow(each, mirrored, lacking)]
        missing = sorted(lacking - {file.path for each in moved for file in each.added})
        overwrite = not moved and not wanted.keys() & present
        rearranged = self._rearrange(moved, model)
        known = {} if projected is None else projected
        unknown = [path for path in missing if f"{model.name}/{path}" not in known]
        known |= {each.file.path: each for each in self._project(unknown, model, new=not overwrite)}
        added = [known[f"{model.name}/{path}"] for path in missing]
        rows = sum(each.file.rows for each in added)
        if not overwrite:
            since = since.plus(rows, sum(each.residual for each in added))
        if refit_began is not None:
            since = replace(since, refit_seconds=round(time.monotonic() - refit_began, 3))
        reduced.commit(
            columns,
            [*rearranged, *(each.file for each in added)],
            () if overwrite else present - wanted.keys(),
            # Only an overwrite may change the columns, and it removes whatever it does not add.
            overwrite=overwrite,
            metadata={
                "model": model.name,
                "features_version": features.table_version,
                **since.to_metadata(),
            },
            transactions={MIRRORS: features.table_version},
        )
        return rows

    def _rearrange(self, swaps: Sequence[Swap], model: NamedModel) -> list[DataFile]:
        if not swaps:
            return []
        folder, name = self._layout.reduced, model.name
        return self._background.run(swaps, lambda share: tasks.rearrange(share, folder, name))

    def _project(self, paths: Sequence[str], model: NamedModel, *, new: bool) -> list[Projected]:
        if not paths:
            return []
        source, target, name = self._layout.features, self._layout.reduced, model.name
        shared = self._background.broadcast(model.pca.to_bytes())
        try:
            return self._background.run(
                paths,
                lambda share: tasks.project(
                    share, source, target, name, PCA.from_bytes(shared.value), new=new
                ),
            )
        finally:
            shared.destroy()


def _may_follow(swap: Swap, mirrored: Set[str], lacking: Set[str]) -> bool:
    """Whether the swap's new files lack counterparts, which can be made of those of the old ones."""
    removed, added = swap.paths()
    return removed <= mirrored and added <= lacking


def model_name(reduced: Table) -> str | None:
    """The name of the model that a version of the matrix was projected with; None without rows."""
    names = {path.partition("/")[0] for path in reduced.paths()}
    return names.pop() if len(names) == 1 else None


def mirrored_version(reduced: Table) -> int | None:
    """The version of ``features/`` that a version of the matrix mirrors; None before the first."""
    return reduced.transaction_version(MIRRORS)


def since_fit(reduced: Table | None) -> SinceFit:
    """What the matrix's last step recorded of the time since the fit; of no photos if unknown.

    It is in the newest entry of the log, unless a vacuum has added its two entries after it.
    """
    if reduced is None:
        return SinceFit()
    entries = reduced.history(HISTORY)
    return SinceFit.from_metadata(next((each for each in entries if "model" in each), {}))
