"""Readiness: whether a store has what the notebook shows; if not, one line that says what to do."""

from common import aws_errors
from common.layout import StoreLayout
from processor.errors import PreflightError
from processor.service.preflight import check_bucket
from processor.store import delta
from processor.store.delta import Table

FEWEST = 3  # photos: fewer have no two components


class NotReadyError(RuntimeError):
    """The store lacks something; a notebook shows the message alone, without a stack trace."""

    def _render_traceback_(self) -> list[str]:
        return [f"not ready: {self}"]


def check(bucket: str, layout: StoreLayout) -> tuple[Table, Table]:
    """The tables features/ and reduced/ of a store, opened. Raises :class:`NotReadyError`."""
    try:
        check_bucket(bucket)
        features, reduced = delta.open_table(layout.features), delta.open_table(layout.reduced)
    except PreflightError as error:
        raise NotReadyError(str(error)) from error
    except aws_errors.ERRORS as error:
        raise NotReadyError(aws_errors.explain(error, layout.root)) from error
    if features is None or not features.rows:
        raise NotReadyError(
            f"{layout.features} has no photo yet: put photos into the bucket and run the service "
            "(python -m processor run)"
        )
    if features.rows < FEWEST:
        raise NotReadyError(
            f"{layout.features} has {features.rows} photos, this needs {FEWEST}: put more into the "
            "bucket"
        )
    if reduced is None or not reduced.rows:
        raise NotReadyError(
            f"{layout.reduced} has no matrix yet: wait for the service's first refit, or run "
            "python -m processor refit"
        )
    return features, reduced
