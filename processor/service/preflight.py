"""The preflight: what must be there before anything is started, and AWS errors in one line."""

from typing import Any

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)


class PreflightError(RuntimeError):
    """Something the service needs is missing; the message names it and the fix."""


def find_queue(name: str, setting: str = "queue.name") -> str:
    """The URL of the queue ``name``. Raises :class:`PreflightError`."""
    try:
        return boto3.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if "NonExistentQueue" in code or code == "QueueDoesNotExist":
            raise PreflightError(
                f"there is no queue {name!r}: deploy it (python -m infra_scripts deploy) or correct "
                f"{setting}"
            ) from error
        raise PreflightError(explain(error, f"queue {name!r}")) from error
    except BotoCoreError as error:
        raise PreflightError(explain(error, f"queue {name!r}")) from error


def check_bucket(name: str) -> None:
    """Raise :class:`PreflightError` unless the bucket is there and we may use it."""
    try:
        boto3.client("s3").head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            raise PreflightError(
                f"there is no bucket {name!r}: deploy it (python -m infra_scripts deploy) or correct "
                "storage.bucket"
            ) from error
        raise PreflightError(explain(error, f"bucket {name!r}")) from error
    except BotoCoreError as error:
        raise PreflightError(explain(error, f"bucket {name!r}")) from error


def explain(error: ClientError | BotoCoreError | Any, what: str = "AWS") -> str:
    """An AWS error in one line: what was refused and what to do about it."""
    match error:
        case NoCredentialsError():
            return (
                f"{what}: no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or give the instance a role"
            )
        case NoRegionError():
            return f"{what}: no AWS region: set AWS_REGION"
        case EndpointConnectionError():
            return f"{what}: {error} Check the network, AWS_REGION and AWS_ENDPOINT_URL."
        case ClientError():
            answer = error.response["Error"]
            said = f"{what}: AWS answered {answer['Code']} to {error.operation_name}"
            if error.response["ResponseMetadata"].get("HTTPStatusCode") == 403:
                return (
                    f"{said}: no permission; give these credentials the policy that "
                    "`python -m infra_scripts policy` prints"
                )
            return f"{said}: {answer.get('Message', '')}"
        case _:
            return f"{what}: {' '.join(str(error).split())}"


def cause_in(text: str) -> str:
    """What a message comes down to that may have a worker's whole traceback in it: one line."""
    _, traceback, rest = text.rpartition("Traceback (most recent call last):")
    lines = [line for line in rest.splitlines() if line and not line[0].isspace()]
    return lines[0] if traceback and lines else text.strip().partition("\n")[0]
