"""Photos whose events were lost in every way we know, healed by ``reconcile`` and by the service."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest

from common.config import load
from infra_scripts.assembly import stack_of
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy
from infra_scripts.destruction import destroy
from infra_scripts.embedded import EmbeddedAws
from processor.store import delta
from tests.support.drawn_photos import photo
from tests.support.sites import Site, deployed
from tests.support.traffic import PATIENCE
from tests.support.watched import quiet

pytestmark = pytest.mark.services


@pytest.fixture
def site(aws: EmbeddedAws, cache_dir: Path, tmp_path: Path) -> Iterator[Site]:
    with deployed(tmp_path, cache_dir) as made:
        yield made


def silence(site: Site) -> None:
    """From now on S3 notifies nobody."""
    site.s3.put_bucket_notification_configuration(Bucket=site.bucket, NotificationConfiguration={})


def live(site: Site) -> dict[str, str]:
    """The current versions by key: version ids, else ETags."""
    answer = site.s3.list_object_versions(Bucket=site.bucket, Prefix="photos/")
    return {
        each["Key"]: each["ETag"].strip('"') if each["VersionId"] == "null" else each["VersionId"]
        for each in answer["Versions"]
        if each["IsLatest"]
    }


def rejects(site: Site) -> set[str]:
    table = delta.open_table(f"s3://{site.bucket}/rejects")
    return set(table.dataset().to_table()["key"].to_pylist()) if table else set()


def reconcile(site: Site, *arguments: str, **settings: str) -> str:
    done = site.command("reconcile", *arguments, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_missed_is_healed(site: Site) -> None:
    """First without versions, then with: older than the queue, lost in it, never announced."""
    sqs = boto3.client("sqs")
    s3, bucket = site.s3, site.bucket
    silence(site)
    for n in range(8):
        site.put(f"{n}.jpg", photo(n))  # older than the queue
    for name in ("bad", "worse", "good soon"):
        site.put(name, b"no photo")
    reconcile(site)
    site.run_once()
    bad = {"photos/bad", "photos/worse", "photos/good soon"}
    assert site.features() == {key: each for key, each in live(site).items() if key not in bad}
    assert rejects(site) == bad

    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    site.put("0.jpg", photo(20))  # overwritten
    site.put("good soon", photo(21))  # a reject that was mended
    s3.delete_object(Bucket=bucket, Key="photos/bad")  # a reject that was removed
    s3.delete_object(Bucket=bucket, Key="photos/1.jpg")  # by a delete marker
    s3.delete_object(Bucket=bucket, Key="photos/2.jpg", VersionId="null")  # as if it had expired
    site.put("3.jpg", photo(22))
    current = s3.head_object(Bucket=bucket, Key="photos/3.jpg")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="photos/3.jpg", VersionId=current)  # undone
    with closing(Clients.connect()) as clients:
        stack = stack_of(load(environment=site.settings))
        deploy(clients, stack, clients.place(), say=quiet)
        site.put("4.jpg", photo(23))
        url = sqs.get_queue_url(QueueName=stack.queue)["QueueUrl"]
        destroy(clients, stack, say=quiet)  # with the event in it
        deploy(clients, stack, clients.place(), say=quiet)
    site.put("5.jpg", photo(24))
    sqs.purge_queue(QueueUrl=url)
    found = "missing: 0\nstale: 4\nremoved: 3\n"
    assert found in reconcile(site, "--dry-run")
    assert site.status()["queue"]["visible"] == 0
    assert found in reconcile(site)
    site.run_once()
    stored = {key: each for key, each in live(site).items() if key != "photos/worse"}
    assert site.features() == stored
    assert rejects(site) == {"photos/worse"}

    # Another network's store, which has nothing yet: its photos are prepared in another way.
    moved = {"FRUITS_STORAGE__STORE_PREFIX": "other/", "FRUITS_IMAGES__REDUCED_DECODE": "false"}
    assert "missing: 8\n" in reconcile(site, **moved)
    assert site.command("run", "--once", **moved).returncode == 0
    table = delta.open_table(f"s3://{bucket}/other/features")
    assert table
    rows = table.dataset().to_table(columns=["key", "version"]).to_pylist()
    assert {row["key"]: row["version"] for row in rows} == stored


def test_the_service_heals_by_itself(site: Site) -> None:
    site.settings["FRUITS_UPKEEP__RECONCILE_INTERVAL_SECONDS"] = "3"
    silence(site)
    site.put("a.jpg", photo(1))
    service = site.start("run")
    site.wait(lambda: site.features() == site.live() != {})
    site.s3.delete_object(Bucket=site.bucket, Key="photos/a.jpg")
    site.put("b.jpg", photo(2))
    site.wait(lambda: site.features() == site.live())
    service.terminate()
    service.communicate(timeout=PATIENCE)
    assert service.returncode == 0


def test_arguments_that_cannot_be_meant_are_refused(site: Site) -> None:
    for arguments, error in (
        (("--prefix", "other/"), "--prefix 'other/' should begin with 'photos/'"),
        (("--since", "yesterday"), "'yesterday' is not a time such as 2026-11-26"),
        (("--retry", "ugly"), "invalid choice: 'ugly'"),
    ):
        done = site.command("reconcile", *arguments)
        assert done.returncode != 0
        assert error in done.stderr
