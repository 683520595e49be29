"""The bucket of a stage: deployed, probed, and read in the end as anybody's tools would read it."""

import csv
import io
import json
import math
import time
import uuid
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import deltalake
import pyarrow.parquet as pq

from common import aws
from common.config import load
from common.layout import REPORT_MAP, REPORT_PAGE
from infra_scripts import bucket as bucket_part
from infra_scripts import notifications, policies
from infra_scripts.assembly import stack_of
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy
from infra_scripts.destruction import destroy
from infra_scripts.errors import InfraError
from infra_scripts.stack import Place, Stack
from ingest.events import MalformedMessage, parse
from tests.soak.contents import Content, by_digest, digest
from tests.soak.verdict import Live, Noted, Stored

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import MessageTypeDef

PROBE_SECONDS = 60.0


class SoakError(RuntimeError):
    """The soak cannot be run; one line that names the cause and the fix."""


class SoakBucket:
    """A bucket with queue and notifications, made by the real deployment."""

    def __init__(self, settings: dict[str, str], *, versioned: bool) -> None:
        self.stack = stack_of(load(environment=settings))
        self.name = self.stack.bucket
        self.s3 = aws.client("s3", connections=4)
        self.sqs = aws.client("sqs")
        self._is_deployed = self._deploy()
        if versioned:
            self.s3.put_bucket_versioning(
                Bucket=self.name, VersioningConfiguration={"Status": "Enabled"}
            )
        self.queue_url = self._url(self.stack.queue)
        self.dead_letter_url = self._url(self.stack.dead_letter_queue)
        self._probe()

    def _deploy(self) -> bool:
        """Whether the real deployment made it; S3 and SQS are all that the soak needs."""
        with closing(Clients.connect()) as clients:
            try:
                deploy(clients, self.stack, clients.place(), say=_quiet)
            except InfraError:
                _deploy_least(clients, self.stack)
                return False
        return True

    def _url(self, queue: str) -> str:
        return self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]

    def _probe(self) -> None:
        """See that an object's event comes; leaves bucket and queue empty."""
        key = f"photos/probe {uuid.uuid4().hex}"
        self.s3.put_object(Bucket=self.name, Key=key, Body=b"probe")
        deadline = time.monotonic() + PROBE_SECONDS
        while not any(key in _keys(each["Body"]) for each in self._received(self.queue_url, 1)):
            if time.monotonic() > deadline:
                raise SoakError(
                    f"no event of a new object came within {PROBE_SECONDS:.0f} s: the endpoint must "
                    "send the events of S3 to SQS"
                )
        self.s3.delete_object(Bucket=self.name, Key=key)
        while self._received(self.queue_url, 2):
            pass

    def _received(self, url: str, wait_seconds: int) -> "list[MessageTypeDef]":
        messages = self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds
        ).get("Messages", [])
        for each in messages:
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return messages

    def backlog(self) -> int:
        """Messages in the queue, those in flight and delayed included."""
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["All"])
        counts = found["Attributes"]
        return sum(int(n) for name, n in counts.items() if name.startswith("ApproximateNumber"))

    def live(self) -> dict[str, Live]:
        """The objects under the prefix, by key, each read to the last byte."""
        found = {}
        pages = self.s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.name, Prefix="photos/"):
            for each in page.get("Contents", ()):
                answer = self.s3.get_object(Bucket=self.name, Key=each["Key"])
                data = answer["Body"].read()
                version = answer.get("VersionId")
                if version in (None, "null"):
                    version = answer["ETag"].strip('"')
                unknown = Content("bytes that nobody put", data, good=False)
                found[each["Key"]] = Live(version, by_digest().get(digest(data), unknown))
        return found

    def table(self, name: str, version: int | None = None) -> deltalake.DeltaTable | None:
        endpoint = str(self.s3.meta.endpoint_url)
        options = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": str(endpoint.startswith("http:")).lower(),
        }
        try:
            return deltalake.DeltaTable(
                f"s3://{self.name}/{name}", version=version, storage_options=options
            )
        except deltalake.exceptions.TableNotFoundError:
            return None

    def stored(self) -> list[Stored]:
        rows = self._rows("features", ["key", "version", "features"])
        return [Stored(each["key"], each["version"], each["features"]) for each in rows]

    def noted(self, name: str) -> list[Noted]:
        """The rows of rejects/ or pending/."""
        return [Noted(**each) for each in self._rows(name, ["key", "version", "reason"])]

    def _rows(self, name: str, columns: list[str]) -> list[dict[str, Any]]:
        table = self.table(name)
        if table is None:
            return []
        rows: list[dict[str, Any]] = table.to_pyarrow_table(columns=columns).to_pylist()
        return rows

    def matrix_fault(self) -> str | None:
        """What is not as it should be about reduced/ and reduced.csv; None if all is."""
        features, reduced = self.table("features"), self.table("reduced")
        if features is None or not features.to_pyarrow_table(columns=["key"]).num_rows:
            return None
        if reduced is None:
            return "there is no reduced/"
        mirrored = reduced.transaction_version("features")
        then = self.table("features", mirrored)
        keys = sorted(reduced.to_pyarrow_table(columns=["key"])["key"].to_pylist())
        wanted = sorted(then.to_pyarrow_table(columns=["key"])["key"].to_pylist()) if then else []
        if keys != wanted:
            return f"reduced/ has not the keys of features/ at version {mirrored}"
        now = sorted(features.to_pyarrow_table(columns=["key"])["key"].to_pylist())
        if keys != now:
            return "reduced/ lags behind features/"
        models = _models(reduced)
        if len(models) != 1:
            return f"reduced/ has rows of several models: {sorted(models)}"
        return self._csv_fault(models.pop())

    def _csv_fault(self, model: str) -> str | None:
        answer = self.s3.get_object(Bucket=self.name, Key="reduced.csv")
        about = answer["Metadata"]
        if about["model"] != model:
            return f"reduced.csv is of model {about['model']}, not {model}"
        rows = list(csv.reader(io.StringIO(answer["Body"].read().decode())))
        then = self.table("reduced", int(about["reduced-version"]))
        if then is None:
            return "reduced.csv names a version of reduced/ that is not there"
        table = then.to_pyarrow_table()
        if rows[0] != table.column_names:
            return f"reduced.csv has the columns {rows[0]}"
        if any(len(row) != len(rows[0]) for row in rows):
            return "reduced.csv has a line of another length"
        if sorted(row[0] for row in rows[1:]) != sorted(table["key"].to_pylist()):
            return f"reduced.csv has not the keys of reduced/ at version {then.version()}"
        if any(not _is_number(value) for row in rows[1:] for value in row[2:]):
            return "reduced.csv has a component that is not a number"
        return None

    def report_fault(self) -> str | None:
        """What is not as it should be about the report of reduced/'s model; None if all is."""
        reduced = self.table("reduced")
        if reduced is None:
            return None
        (model,) = _models(reduced)
        bodies = []
        for key in (REPORT_PAGE, REPORT_MAP):
            try:
                answer = self.s3.get_object(Bucket=self.name, Key=key)
            except self.s3.exceptions.NoSuchKey:
                return f"there is no {key}"
            about = answer["Metadata"]
            if about["model"] != model:
                return f"{key} is of model {about['model']}, not {model}"
            bodies.append(answer["Body"].read())
        page, points = bodies
        if not page.endswith(b"</html>\n"):
            return f"{REPORT_PAGE} is cut off"
        version = int(about["reduced-version"])
        then = self.table("reduced", version)
        keys = pq.read_table(io.BytesIO(points), columns=["key"])["key"].to_pylist()
        wanted = then.to_pyarrow_table(columns=["key"])["key"].to_pylist() if then else []
        if sorted(keys) != sorted(wanted):
            return f"{REPORT_MAP} has not the keys of reduced/ at version {version}"
        return None

    def delete(self) -> None:
        """The bucket with all that is in it, and the queues."""
        if self._is_deployed:
            with closing(Clients.connect()) as clients:
                destroy(clients, self.stack, say=_quiet, delete_data=True)
            return
        for queue in (self.stack.queue, self.stack.dead_letter_queue):
            self.sqs.delete_queue(QueueUrl=self._url(queue))
        bucket_part.delete(self.s3, self.name)

    def dead_letters(self) -> list[str]:
        """The bodies of all dead letters, which are deleted."""
        bodies = []
        while messages := self._received(self.dead_letter_url, 1):
            bodies += [each["Body"] for each in messages]
        return bodies


def _models(reduced: deltalake.DeltaTable) -> set[str]:
    return {path.partition("/")[0] for path in reduced.get_add_actions()["path"].to_pylist()}


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def causes(bodies: list[str]) -> Counter[str]:
    """Why messages became dead letters."""
    return Counter("received too often" if _keys(body) else "malformed" for body in bodies)


def _keys(body: str) -> set[str]:
    try:
        return {event.key for event in parse(body)}
    except MalformedMessage:
        return set()


def _quiet(_line: str) -> None:
    """The soak shows its own progress."""


def _deploy_least(clients: Clients, stack: Stack) -> None:
    """Bucket, queues and notifications: an endpoint may have neither STS nor CloudFormation."""
    dead = clients.sqs.create_queue(QueueName=stack.dead_letter_queue)["QueueUrl"]
    answer = clients.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    arn = answer["Attributes"]["QueueArn"]
    _, partition, _, region, account, _ = arn.split(":")
    place = Place(partition, region, account, encrypted=False)
    redrive = {"deadLetterTargetArn": arn, "maxReceiveCount": stack.max_receives}
    policy = {"Version": policies.VERSION, "Statement": policies.queue_statements(stack, place)}
    clients.sqs.create_queue(
        QueueName=stack.queue,
        Attributes={
            "VisibilityTimeout": str(stack.visibility_timeout_seconds),
            "RedrivePolicy": json.dumps(redrive),
            "Policy": json.dumps(policy),
        },
    )
    where: Any = {} if region == "us-east-1" else {"LocationConstraint": region}
    clients.s3.create_bucket(
        Bucket=stack.bucket, **({"CreateBucketConfiguration": where} if where else {})
    )
    part = notifications.part(clients.s3, stack, place)
    change = part.compare()
    part.write(change.before, change.after)
