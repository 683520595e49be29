"""Least privilege: the calls of a whole run are those that the policies allow, no more and no fewer.

The run is made by a role with exactly the policy that ``python -m infra_scripts policy`` prints, which
the embedded AWS enforces and records. It covers each outcome of a photo, refits, maintenance,
reconciliation of a bucket without and with versions, dead letters, and the log in CloudWatch.
"""

import argparse
import copy
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from common.config import Config, load
from infra_scripts import policies
from infra_scripts.assembly import stack_of
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.release import KEPT
from infra_scripts.stack import Place, Stack
from ingest.queue import Queue, connect
from processor import assembly, commands
from processor.errors import WeightsError
from processor.matrix import models
from processor.matrix.matrix import Matrix
from processor.network import weights
from processor.pipeline.retries import Retries
from processor.service.maintenance import Maintenance
from processor.service.preflight import find_queue
from processor.service.reporter import Reporter
from processor.store import objects
from processor.store.datafiles import new_name
from tests.support.aws import embedded_aws
from tests.support.drawn_photos import photo
from tests.support.in_process import InThisProcess
from tests.support.limited import calling_as, session_of
from tests.support.permissions import lacking, of_kms, recorded, unused
from tests.support.sites import ROOT, Site, deployed

PLACE = Place("aws", "eu-west-1", "123456789012", encrypted=False)
KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"

# What no run of the service can use, and why it is granted.
ELSEWHERE = {
    "ReadReleases": "the instance installs itself with it, before there is a service",
}


@dataclass
class Run:
    """A whole run, as it was recorded."""

    calls: Path
    site: Site
    stack: Stack
    policy: dict[str, Any]
    needs: set[Any]


@pytest.fixture(scope="module")
def run(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("run")
    with embedded_aws(EmbeddedAws(record=folder / "calls")), deployed(folder, cache_dir) as site:
        owner = boto3.client("s3")
        source = f"weights-{uuid.uuid4().hex[:12]}"
        region = {"LocationConstraint": "eu-west-1"}
        owner.create_bucket(Bucket=source, CreateBucketConfiguration=region)
        owner.put_object(Bucket=source, Key="vgg/#16.npz", Body=b"no weights")
        elsewhere = {"FRUITS_MODEL__WEIGHTS": f"s3://{source}/vgg/#16.npz#sha256={'0' * 64}"}
        policy = printed_policy(site, **elsewhere)
        role = session_of("service", policy)
        stack = stack_of(load(environment=site.settings | elsewhere))
        site.settings |= role | {"FRUITS_LOGS__CLOUDWATCH": "true"}
        whole_run(site, role, stack.weights)
        needs = recorded(folder / "calls", role["AWS_ACCESS_KEY_ID"])
        yield Run(folder / "calls", site, stack, policy, needs)


def printed_policy(site: Site, *options: str, **settings: str) -> dict[str, Any]:
    done = infra_scripts(site.environment | settings, "policy", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def infra_scripts(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra_scripts", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def whole_run(site: Site, role: dict[str, str], source: str) -> None:
    """Everything that a service and the commands do, by a role that is held to its policy."""
    owner, config = boto3.client("s3"), load(environment=site.settings)
    drop_photos(site, owner)
    with calling_as(role):
        commands.reconcile(config, options(retry=[], prefix="", since=None))
    owner.put_bucket_versioning(Bucket=site.bucket, VersioningConfiguration={"Status": "Enabled"})
    site.put("0.jpg", photo(20))
    with calling_as(role):
        commands.status(config, options())  # while messages are waiting
    site.run_once()
    with calling_as(role):
        commands.reconcile(config, options(retry=[], prefix="", since=None))
        commands.why(config, options(key="photos/0.jpg"))
        assert commands.redrive(config, options(cause="all")) == 0
        maintain(config)
        upload_in_parts(config)
        with pytest.raises(WeightsError, match="replaced or damaged"):
            weights.obtain(source, include_top=False, cache_dir=site.folder)


def options(**more: Any) -> argparse.Namespace:
    return argparse.Namespace(json=True, dry_run=False, **more)


def drop_photos(site: Site, owner: Any) -> None:
    """Photos of every outcome, a message that is no event, and files that a vacuum deletes."""
    for number in range(4):
        site.put(f"{number}.jpg", photo(number))
    site.put("rejected.jpg", b"no photo")
    site.put("removed.jpg", photo(5))
    owner.delete_object(Bucket=site.bucket, Key="photos/removed.jpg")
    owner.put_object(
        Bucket=site.bucket, Key="photos/waits.jpg", Body=photo(6), StorageClass="GLACIER"
    )
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=site.settings["FRUITS_QUEUE__NAME"])["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="no event")
    for table in ("features", "rejects", "pending"):
        owner.put_object(Bucket=site.bucket, Key=f"{table}/{new_name()}", Body=b"orphaned")


def maintain(config: Config) -> None:
    """A refit, and what the service's maintenance does, of files and models of any age."""
    layout = config.storage.layout
    queue = Queue(connect(1), find_queue(config.queue.name))
    matrix = Matrix(layout.store, assembly.refit_policy(config), InThisProcess())
    update = matrix.update(force=True)
    assert update
    matrix.export()
    Reporter(assembly.report(config, InThisProcess())).now()
    retries = Retries(layout, queue.send_all)
    Maintenance(
        layout.store, matrix, InThisProcess(), retries, interval_seconds=1, retention_hours=0
    ).clean()
    assert models.sweep(layout.store, None, kept=timedelta(0))


def upload_in_parts(config: Config) -> None:
    """A CSV, a map, a page large enough for several parts; and one that fails after the first."""
    part = b"0" * (6 << 20)

    def failing() -> Iterator[bytes]:
        yield from (part, part)
        raise KeyError

    store = config.storage.layout.store
    for target in (store.reduced_csv, store.report_map, store.report_page):
        objects.upload(target, [part, part], "text/csv", {})
        with pytest.raises(KeyError):
            objects.upload(target, failing(), "text/csv", {})


def test_every_call_is_allowed(run: Run) -> None:
    assert lacking(run.policy, run.needs) == []
    assert run.policy == policies.service_role(run.stack, PLACE)
    operations = {each.operation for each in run.needs}
    assert operations >= {
        *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjects", "s3:HeadObject"),
        *("s3:ListObjectsV2", "s3:ListObjectVersions", "s3:UploadPart", "s3:AbortMultipartUpload"),
        *("sqs:ReceiveMessage", "sqs:DeleteMessageBatch", "sqs:ChangeMessageVisibilityBatch"),
        *("sqs:SendMessage", "sqs:SendMessageBatch", "logs:PutLogEvents"),
        "cloudwatch:GetMetricStatistics",
    }


def test_every_permission_is_used(run: Run) -> None:
    idle = unused(run.policy, run.needs)
    assert [each for each in idle if each.partition(":")[0] not in ELSEWHERE] == []
    assert {each.partition(":")[0] for each in idle} == ELSEWHERE.keys()


def test_every_outcome_was_in_the_run(run: Run) -> None:
    assert run.site.features().keys() == {f"photos/{n}.jpg" for n in range(4)}
    state = run.site.status()
    assert (state["photos"], state["rejects"], state["pending"]["photos"]) == (4, 1, 1)


@pytest.mark.parametrize("at", ["the bucket", "the queues"])
def test_keys_of_kms(run: Run, at: str) -> None:
    """With a bucket or queues that somebody has encrypted with a key."""
    if at == "the bucket":
        place, keyed = "arn:aws:s3:::", replace(run.stack, bucket_key=KEY)
    else:
        place, keyed = "arn:aws:sqs:", replace(run.stack, queue_keys=(KEY,))
    needs = of_kms(run.needs, place, KEY, PLACE.region)
    assert {each.action for each in needs} == {"kms:Decrypt", "kms:GenerateDataKey"}
    policy = policies.service_role(keyed, PLACE)
    assert lacking(policy, needs) == []
    assert lacking(run.policy, needs)
    through_others = {replace(each, context=()) for each in needs}
    assert len(lacking(policy, through_others)) == len(through_others)
    used = needs | run.needs
    assert {each.partition(":")[0] for each in unused(policy, used)} == ELSEWHERE.keys()


def test_the_deployer_needs_what_its_policy_allows(run: Run) -> None:
    """From nothing to a bucket with releases and two versions of an object, and back to nothing.

    What CloudFormation requests in turn is compared in ``tests/infra_scripts/test_deployer.py``.
    """
    site = Site(run.site.folder, run.site.folder)
    site.settings["FRUITS_INSTANCE__TYPE"] = "t2.xlarge"
    policy = printed_policy(site, "--deployer")
    role = session_of("deployer", policy)
    environment = site.environment | role
    owner = boto3.client("s3")
    for command in ("plan", "deploy", "deploy", "plan"):
        done = infra_scripts(environment, command)
        assert done.returncode == 0, done.stderr
        if command == "deploy":  # the next one deletes what is too much
            for number in range(KEPT):
                key = f"releases/{number:064}.tar.gz"
                owner.put_object(Bucket=site.bucket, Key=key, Body=b"old")
    versions = {"Status": "Enabled"}
    owner.put_bucket_versioning(Bucket=site.bucket, VersioningConfiguration=versions)
    for body in (b"1", b"2"):
        site.put("a.jpg", body)
    owner.put_object(Bucket=site.bucket, Key="photos/\x01", Body=b"XML cannot name it")
    owner.create_multipart_upload(Bucket=site.bucket, Key="photos/b.jpg")
    done = infra_scripts(environment, "destroy", "--delete-data", "--yes")
    assert done.returncode == 0, done.stderr
    needs = recorded(run.calls, role["AWS_ACCESS_KEY_ID"])
    assert lacking(policy, needs) == []
    used = {each.action for each in needs}
    for sid in ("DeleteData", "FindData", "KeepReleases", "SeeOffers", "Stack"):
        assert used >= set(statement(policy, sid)["Action"])
    assert used >= {"s3:DeleteBucket", "s3:PutBucketNotification"}


def test_what_is_lacking_and_what_is_surplus_is_named(run: Run) -> None:
    """The comparison itself, on a policy with one permission too few and one too many."""
    changed = copy.deepcopy(run.policy)
    reads = statement(changed, "ReadPhotos")
    reads["Action"] = ["s3:GetObjectVersion"]
    statement(changed, "List")["Condition"]["StringLikeIfExists"]["s3:prefix"].append("more/*")
    photos = f"arn:aws:s3:::{run.site.bucket}/photos/"
    expected = f"s3:GetObject on {photos}rejected.jpg  (s3:GetObject)"
    found = lacking(changed, run.needs)
    assert expected in found
    assert all(each.startswith(f"s3:GetObject on {photos}") for each in found)
    listed = f"s3:ListBucket on arn:aws:s3:::{run.site.bucket}"
    assert set(unused(changed, run.needs)) - set(unused(run.policy, run.needs)) == {
        f"ReadPhotos: s3:GetObjectVersion on {photos}*",
        f"List: {listed} where s3:prefix is more/*",
    }


@pytest.mark.parametrize(
    ("sid", "action", "command", "words"),
    [
        ("KeepStore", "s3:PutObject", "reconcile", ("PutObject was denied", "reconciliation.json")),
        ("WorkQueue", "sqs:SendMessage", "reconcile", ("SendMessageBatch was denied",)),
        ("WorkQueue", "sqs:GetQueueUrl", "run --once", ("queue '", "GetQueueUrl was denied")),
    ],
)
def test_what_a_policy_lacks_is_named(
    run: Run, sid: str, action: str, command: str, words: tuple[str, ...]
) -> None:
    poorer = copy.deepcopy(run.policy)
    statement(poorer, sid)["Action"].remove(action)
    role = session_of(f"without-{action.replace(':', '-')}", poorer)
    done = run.site.command(*command.split(), **role)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    for word in (*words, f"grant {action} to", "python -m infra_scripts policy"):
        assert word in line


def statement(policy: dict[str, Any], sid: str) -> dict[str, Any]:
    [found] = [each for each in policy["Statement"] if each["Sid"] == sid]
    return found
