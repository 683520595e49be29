"""The AWS of a benchmark: embedded, empty, with bucket, queue and notifications deployed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3

from benchmarks.harness.child import output_of
from common.config import Config
from infra_scripts.embedded import EmbeddedAws


@contextmanager
def deployed(environment: Mapping[str, str]) -> Iterator[EmbeddedAws]:
    """An embedded AWS with the stack that the settings in ``environment`` name; gone afterwards."""
    with EmbeddedAws() as aws:
        output_of("infra_scripts", "deploy", environment=aws.over(environment))
        yield aws


def client(aws: EmbeddedAws, service: str) -> Any:
    """A boto3 client of the embedded AWS, whatever the environment of this process says."""
    settings = aws.environment
    return boto3.client(
        service,
        region_name=aws.region,
        endpoint_url=aws.endpoint_url,
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    )


def queued(aws: EmbeddedAws, config: Config) -> int:
    """Messages that wait in the queue."""
    sqs = client(aws, "sqs")
    url = sqs.get_queue_url(QueueName=config.queue.name)["QueueUrl"]
    name = "ApproximateNumberOfMessages"
    return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])
