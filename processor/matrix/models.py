"""PCA models, kept under ``models/pca/`` of the store, each under its name and never changed.

A matrix names its model in the paths of its data files and in its log. A model stays for 30 days after
another took its place, so that coordinates of another day can be understood.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.layout import StoreLayout
from processor.matrix.pca import PCA
from processor.store import objects

KEPT = timedelta(days=30)  # after its successor came; longer than any fit takes


@dataclass(frozen=True, slots=True, eq=False)
class NamedModel:
    """A PCA under the name by which the matrix, its log and readers know it."""

    name: str
    pca: PCA


def new_name(features_version: int) -> str:
    """A name nobody has used: when, of which version of the features."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-v{features_version}-{secrets.token_hex(3)}"


def read(layout: StoreLayout, name: str) -> NamedModel | None:
    """The model ``name`` of a store; None when it is lost."""
    body = objects.get(layout.pca_model(name))
    return None if body is None else NamedModel(name, PCA.from_bytes(body))


def write(layout: StoreLayout, model: NamedModel) -> None:
    """Keep a model."""
    objects.put(layout.pca_model(model.name), model.pca.to_bytes())


def sweep(layout: StoreLayout, current: str | None, kept: timedelta = KEPT) -> int:
    """Delete the models that were replaced longer than ``kept`` ago; how many.

    Never ``current``, the matrix's. A fit that was interrupted leaves a model without a matrix, and
    one that is under way looks the same: they count as replaced when the next model came, or when
    they were written if none has.
    """
    found = sorted((each.modified, each.uri) for each in objects.listing(layout.pca_models))
    replaced_at = [at for at, _ in found[1:]] + [at for at, _ in found[-1:]]
    before = datetime.now(UTC) - kept
    doomed = [
        uri
        for (_, uri), at in zip(found, replaced_at, strict=True)
        if at < before and uri != (layout.pca_model(current) if current else None)
    ]
    for uri in doomed:
        objects.delete(uri)
    return len(doomed)
