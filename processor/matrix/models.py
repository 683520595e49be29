"""PCA models, kept under ``models/pca/`` of the store, each under its name and never changed.

A matrix names its model in the paths of its data files and in its log. A model stays for 30 days after
another took its place, so that coordinates of another day can be understood.
"""

import secrets
from datetime import UTC, datetime, timedelta

from processor.matrix.pca import PCA
from processor.store import datafiles

KEPT = timedelta(days=30)  # after its successor came; longer than any fit takes


def new_name(features_version: int) -> str:
    """A name nobody has used: when, of which version of the features."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-v{features_version}-{secrets.token_hex(3)}"


def read(uri: str, name: str) -> PCA | None:
    """The model ``name`` of the store ``uri``; None when it is lost."""
    body = datafiles.get(f"{uri}models/pca/{name}.npz")
    return None if body is None else PCA.from_bytes(body)


def write(uri: str, name: str, model: PCA) -> None:
    """Keep a model."""
    datafiles.put(f"{uri}models/pca/{name}.npz", model.to_bytes())


def sweep(uri: str, current: str | None, kept: timedelta = KEPT) -> int:
    """Delete the models that were replaced longer than ``kept`` ago; how many.

    Never ``current``, the matrix's. A fit that was interrupted leaves a model without a matrix, and
    one that is under way looks the same: they count as replaced when the next model came, or when
    they were written if none has.
    """
    bucket, prefix = datafiles.split(f"{uri}models/pca/")
    pages = datafiles.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = sorted(
        (each["LastModified"], each["Key"]) for page in pages for each in page.get("Contents", ())
    )
    replaced_at = [at for at, _ in found[1:]] + [at for at, _ in found[-1:]]
    before = datetime.now(UTC) - kept
    doomed = [
        key
        for (_, key), at in zip(found, replaced_at, strict=True)
        if at < before and key != f"{prefix}{current}.npz"
    ]
    for key in doomed:
        datafiles.s3().delete_object(Bucket=bucket, Key=key)
    return len(doomed)
