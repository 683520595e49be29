"""The mirror: the data files of ``reduced/`` kept in step with those of ``features/``, file by file.

Every data file of ``features/`` has one counterpart in ``reduced/``, named ``MODEL/FILE``: the same
rows, projected with the PCA model ``MODEL``. So what the matrix lacks is a difference of two sets of
names, whatever happened in between: new photos, replaced and removed ones, a compaction, a crash.
A refit is the same step with another model, where every counterpart is missing.

Each step is one Delta transaction, which names the version of ``features/`` that the matrix mirrors
(application ``features``). A reader sees the matrix before or after it.
"""

from collections.abc import Sequence

from common.layout import StoreLayout
from processor.matrix import tasks
from processor.matrix.models import NamedModel
from processor.matrix.pca import PCA
from processor.matrix.refit_policy import OutOfSample
from processor.matrix.snapshot import FeaturesSnapshot
from processor.matrix.tasks import Projected
from processor.spark.background import Background
from processor.store import delta, schema
from processor.store.delta import Table

MIRRORS = "features"  # the application whose version says which features the matrix mirrors
HISTORY = 10  # entries of the log to look back for the last step


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
        out_of_sample: OutOfSample,
    ) -> int | None:
        """Make ``reduced/`` the projection of these features; None when it is already.

        Returns the rows written. ``out_of_sample`` counts the photos that came between the model's fit
        and this step. Raises :class:`CommitConflict`; nothing was changed then.
        """
        columns = schema.reduced(len(model.pca.components_))
        if reduced is None:
            reduced = delta.create_table(self._layout.reduced, columns, "")
        wanted = {f"{model.name}/{path}": path for path in features.sizes}
        present = reduced.paths()
        if wanted.keys() == present and mirrored_version(reduced) == features.table_version:
            return None
        missing = [wanted[path] for path in sorted(wanted.keys() - present)]
        afresh = not wanted.keys() & present
        added = self._project(missing, model, new=not afresh)
        rows = sum(each.file.rows for each in added)
        if not afresh:
            out_of_sample = out_of_sample.plus(rows, sum(each.residual for each in added))
        reduced.commit(
            columns,
            [each.file for each in added],
            () if afresh else present - wanted.keys(),
            # Only an overwrite may change the columns, and it removes whatever it does not add.
            overwrite=afresh,
            metadata={
                "model": model.name,
                "features_version": features.table_version,
                **out_of_sample.to_metadata(),
            },
            transactions={MIRRORS: features.table_version},
        )
        return rows

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


def model_name(reduced: Table) -> str | None:
    """The name of the model that a version of the matrix is made with; None without a row."""
    names = {path.partition("/")[0] for path in reduced.paths()}
    return names.pop() if len(names) == 1 else None


def mirrored_version(reduced: Table) -> int | None:
    """The version of ``features/`` that a version of the matrix mirrors; None before the first."""
    return reduced.transaction_version(MIRRORS)


def out_of_sample(reduced: Table | None) -> OutOfSample:
    """What the matrix's last step recorded of photos that came after the fit; unknown: none.

    It is the newest entry of the log, unless a vacuum has come after it, with two entries.
    """
    if reduced is None:
        return OutOfSample()
    entries = (entry for look_back in (1, HISTORY) for entry in reduced.history(look_back))
    return OutOfSample.from_metadata(next((each for each in entries if "model" in each), {}))
