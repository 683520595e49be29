"""PCA models, kept under ``models/pca/`` of the store, each under its own name and never changed.

A matrix names its model in the paths of its data files and in its log. A model is kept for 30 days after
another replaced it, so that older coordinates can still be interpreted.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.layout import StoreLayout
from processor.matrix.pca import PCA
from processor.store import objects

KEPT = timedelta(days=30)  # after its successor was written; longer than any fit takes


@dataclass(frozen=True, slots=True, eq=False)
class NamedModel:
    """A PCA under the name by which the matrix, its log and readers know it."""

    name: str
    pca: PCA


def new_name(features_version: int) -> str:
    """A name never used before: the time and the version of the features, and a random part."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-v{features_version}-{secrets.token_hex(3)}"


def read(layout: StoreLayout, name: str) -> NamedModel | None:
    """The model ``name`` of a store; None if it is lost. Raises ValueError if it is damaged."""
    body = objects.get(layout.pca_model(name))
    return None if body is None else NamedModel(name, PCA.from_bytes(body))


def write(layout: StoreLayout, model: NamedModel) -> None:
    """Write a model to the store, under its name."""
    objects.put(layout.pca_model(model.name), model.pca.to_bytes())


def sweep(layout: StoreLayout, current: str | None, kept: timedelta = KEPT) -> int:
    """Delete the models that were replaced longer than ``kept`` ago; their number.

    Never deletes ``current``, the matrix's. An interrupted fit leaves a model without a matrix, and
    a fit in progress looks the same: both count as replaced when the next model was written, or, if
    there is none, when they were written themselves.
    """
    found = sorted((each.modified, each.uri) for each in objects.listing(layout.pca_models))
    replaced_at = [at for at, _ in found[1:]] + [at for at, _ in found[-1:]]
    before = datetime.now(UTC) - kept
    expired = [
        uri
        for (_, uri), at in zip(found, replaced_at, strict=True)
        if at < before and uri != (layout.pca_model(current) if current else None)
    ]
    for uri in expired:
        objects.delete(uri)
    return len(expired)
