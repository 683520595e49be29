"""The AWS of the tests: one embedded AWS per run, and a deployed stack for each test that needs one.

Load it in ``conftest.py`` with ``pytest_plugins = ["tests.support.aws"]``.
"""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest

from common.aws import queue_url
from common.layout import BucketLayout
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy
from infra_scripts.destruction import destroy
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.stack import Stack
from tests.support.watched import quiet

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient


def unique_stack(bucket: str = "", photos_prefix: str = "photos/", **overrides: Any) -> Stack:
    """A stack with unique names, so that no test sees another's."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    values: dict[str, Any] = {
        "layout": BucketLayout(bucket or name, photos_prefix),
        "queue": name,
        "dead_letter_queue": f"{name}-dead",
        "max_receives": 5,
        "visibility_timeout_seconds": 60,
        "log_group": f"/{name}",
        "log_retention_days": 30,
    }
    return Stack(**values | overrides)


@dataclass(frozen=True)
class DeployedStack:
    """A deployed stack, and the clients and URLs to use it with."""

    stack: Stack
    clients: Clients
    queue_url: str
    dead_letter_queue_url: str

    @property
    def bucket(self) -> str:
        return self.stack.bucket

    @property
    def s3(self) -> "S3Client":
        return self.clients.s3

    @property
    def sqs(self) -> "SQSClient":
        return self.clients.sqs

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables that make ``config.toml`` describe this stack."""
        return {
            "FRUITS_STORAGE__BUCKET": self.stack.bucket,
            "FRUITS_STORAGE__PHOTOS_PREFIX": self.stack.layout.photos_prefix,
            "FRUITS_STORAGE__STORE_PREFIX": self.stack.layout.store_prefix,
            "FRUITS_QUEUE__NAME": self.stack.queue,
            "FRUITS_QUEUE__DEAD_LETTER_NAME": self.stack.dead_letter_queue,
            "FRUITS_QUEUE__MAX_RECEIVES": str(self.stack.max_receives),
            "FRUITS_QUEUE__VISIBILITY_TIMEOUT_SECONDS": str(self.stack.visibility_timeout_seconds),
            "FRUITS_LOGS__GROUP": self.stack.log_group,
            "FRUITS_INSTANCE__TYPE": self.stack.instance.type,
            "FRUITS_LOGS__RETENTION_DAYS": str(self.stack.log_retention_days),
        }

    def put(self, key: str, body: bytes = b"x") -> str:
        """Put an object and return its ETag."""
        return self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)["ETag"]

    def drain(self) -> list[dict[str, Any]]:
        """Receive and delete all visible messages; returns their bodies."""
        bodies = []
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=self.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
            )
            messages = answer.get("Messages", [])
            if not messages:
                return bodies
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                self.sqs.delete_message(
                    QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"]
                )

    def events(self) -> list[tuple[str, str]]:
        """The events of all visible messages, received and deleted, as (name, decoded key)."""
        records = [record for body in self.drain() for record in body.get("Records", [])]
        return [
            (record["eventName"], unquote_plus(record["s3"]["object"]["key"])) for record in records
        ]


@pytest.fixture(scope="session")
def aws() -> Iterator[EmbeddedAws]:
    """The embedded AWS; while it runs, ``os.environ`` points every AWS client at it."""
    with embedded_aws(EmbeddedAws()) as embedded:
        yield embedded


@contextmanager
def embedded_aws(embedded: EmbeddedAws) -> Iterator[EmbeddedAws]:
    """The same of another one, for a while."""
    before = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    with embedded:
        _set_aws_variables(embedded.environment)
        try:
            yield embedded
        finally:
            _set_aws_variables(before)


@pytest.fixture(scope="session")
def clients(aws: EmbeddedAws) -> Iterator[Clients]:
    connected = Clients.connect()
    yield connected
    connected.close()


@pytest.fixture
def stack(clients: Clients) -> Iterator[DeployedStack]:
    """A stack with unique names, created by the real deployment and destroyed afterwards."""
    wanted = unique_stack()
    deploy(clients, wanted, clients.place(), say=quiet)
    queues = [queue_url(clients.sqs, name) for name in (wanted.queue, wanted.dead_letter_queue)]
    deployed = DeployedStack(wanted, clients, str(queues[0]), str(queues[1]))
    deployed.drain()  # S3's test event
    yield deployed
    destroy(clients, wanted, say=quiet, delete_data=True)


def _set_aws_variables(wanted: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(wanted)
