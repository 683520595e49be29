"""The AWS of a benchmark: embedded, empty, with bucket, queue and notifications deployed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3

from benchmarks.harness.child import output_of
from common.config import Config
from infra_scripts.embedded import EmbeddedAws

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient


@contextmanager
def deployed(environment: Mapping[str, str]) -> Iterator[EmbeddedAws]:
    """An embedded AWS with the stack that ``environment`` configures; gone afterwards."""
    with EmbeddedAws() as aws:
        here = {**environment, "FRUITS_INSTANCE__TYPE": ""}  # this machine runs the service
        output_of("infra_scripts", "deploy", environment=aws.over(here))
        yield aws


def s3(aws: EmbeddedAws) -> "S3Client":
    """A client of the embedded AWS, whatever the environment of this process says."""
    client: S3Client = _client(aws, "s3")
    return client


def sqs(aws: EmbeddedAws) -> "SQSClient":
    """As :func:`s3`."""
    client: SQSClient = _client(aws, "sqs")
    return client


def queued(aws: EmbeddedAws, config: Config) -> int:
    """The number of messages that wait in the queue."""
    client = sqs(aws)
    url = client.get_queue_url(QueueName=config.queue.name)["QueueUrl"]
    answer = client.get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def _client(aws: EmbeddedAws, service: str) -> Any:
    credentials = aws.environment
    return boto3.client(
        service,
        region_name=aws.region,
        endpoint_url=aws.endpoint_url,
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
    )
