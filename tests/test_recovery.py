"""What docs/operations.md says of moving and restoring a store, done object by object."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra_scripts.embedded import EmbeddedAws
from processor.store import delta
from tests.support.drawn_photos import photo
from tests.support.sites import Site, deployed

pytestmark = pytest.mark.services

Rows = list[tuple[str, str, list[float]]]  # key, version, features

TABLES = ("features", "rejects", "pending", "reduced")


@pytest.fixture
def old(aws: EmbeddedAws, cache_dir: Path, tmp_path: Path) -> Iterator[Site]:
    (folder := tmp_path / "old").mkdir()
    with deployed(folder, cache_dir) as made:
        yield made


@pytest.fixture
def new(aws: EmbeddedAws, cache_dir: Path, tmp_path: Path) -> Iterator[Site]:
    (folder := tmp_path / "new").mkdir()
    with deployed(folder, cache_dir) as made:
        yield made


def rows(site: Site) -> Rows:
    table = delta.open_table(f"s3://{site.bucket}/features")
    if table is None:
        return []
    found = table.dataset().to_table(columns=["key", "version", "features"]).to_pylist()
    return sorted((row["key"], row["version"], row["features"]) for row in found)


def keys(site: Site, prefix: str = "") -> list[str]:
    """In the order of their names, as S3 lists them and ``aws s3 sync`` copies."""
    pages = site.s3.get_paginator("list_objects_v2").paginate(Bucket=site.bucket, Prefix=prefix)
    return [each["Key"] for page in pages for each in page.get("Contents", ())]


def is_log(key: str) -> bool:
    return "/_delta_log/" in key


def data_files(site: Site) -> set[str]:
    return {key for key in keys(site, "features/") if not is_log(key)}


def copy(old: Site, new: Site, key: str) -> None:
    new.s3.copy_object(Bucket=new.bucket, Key=key, CopySource={"Bucket": old.bucket, "Key": key})


def restore(site: Site) -> None:
    """Delete the delete markers, so that the versions before them are current again."""
    answer = site.s3.list_object_versions(Bucket=site.bucket, Prefix="features/")
    for marker in answer["DeleteMarkers"]:
        site.s3.delete_object(Bucket=site.bucket, Key=marker["Key"], VersionId=marker["VersionId"])


def delete(site: Site, prefix: str) -> None:
    for key in keys(site, prefix):
        site.s3.delete_object(Bucket=site.bucket, Key=key)


def computed(log: list[dict]) -> int:
    return sum(line["stored"] for line in log if line["message"] == "micro-batch durable")


def test_a_store_is_moved_restored_and_made_anew(old: Site, new: Site) -> None:
    for number in range(5):
        old.put(f"Apple/{number}.jpg", photo(number))
    old.put("Apple/bad.jpg", b"no photo")
    old.run_once()
    before = rows(old)
    assert len(before) == 5

    # Moved: whoever reads the copy sees nothing, or a whole table.
    store = [key for key in keys(old) if not key.startswith("photos/")]
    seen: list[Rows] = []
    for key in sorted(store, key=is_log):  # all data first, as the runbook's commands do
        copy(old, new, key)
        seen.append(rows(new))  # raises if the log names a file that is not there
    assert [] in seen
    assert seen[-1] == before
    for key in keys(old, "photos/"):
        copy(old, new, key)  # announces it, as any upload
    files = data_files(new)
    assert computed(new.run_once()) == 0
    assert data_files(new) == files
    assert rows(new) == before
    assert "queued: 0\n" in new.command("reconcile").stdout

    # Deleted by mistake, in a bucket with versions: what comes back is what was there.
    enabled = {"Status": "Enabled"}
    new.s3.put_bucket_versioning(Bucket=new.bucket, VersioningConfiguration=enabled)
    delete(new, "features/")
    assert rows(new) == []
    restore(new)
    assert rows(new) == before

    # All tables lost: the photos are the truth, each is queued again.
    for table in TABLES:
        delete(new, f"{table}/")
    assert "queued: 6\n" in new.command("reconcile").stdout
