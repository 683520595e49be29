"""PCA models, kept under ``models/pca/`` of the store, each under its name and never changed.

A matrix names its model in the paths of its data files and in its log. Old models stay as long as the
log tells of a matrix made with them (30 days), so that coordinates of another day can be understood.
"""

import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from processor import files
from processor.pca import PCA


def new_name(features_version: int) -> str:
    """A name nobody has used: when, of which version of the features."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-v{features_version}-{secrets.token_hex(3)}"


def read(uri: str, name: str) -> PCA | None:
    """The model ``name`` of the store ``uri``; None when it is lost."""
    body = files.get(f"{uri}models/pca/{name}.npz")
    return None if body is None else PCA.from_bytes(body)


def write(uri: str, name: str, model: PCA) -> None:
    """Keep a model."""
    files.put(f"{uri}models/pca/{name}.npz", model.to_bytes())


def sweep(uri: str, keep: Collection[str], hours: int) -> int:
    """Delete models older than ``hours`` other than ``keep``; how many.

    A fit that was interrupted leaves a model without a matrix. One that is under way looks the same,
    so ``hours`` must be more than it can take.
    """
    bucket, prefix = files.split(f"{uri}models/pca/")
    before = datetime.now(UTC) - timedelta(hours=hours)
    kept = {f"{prefix}{name}.npz" for name in keep}
    deleted = 0
    for page in files.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for each in page.get("Contents", ()):
            if each["LastModified"] < before and each["Key"] not in kept:
                files.s3().delete_object(Bucket=bucket, Key=each["Key"])
                deleted += 1
    return deleted
