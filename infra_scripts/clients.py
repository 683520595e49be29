"""The AWS clients: plain boto3; credentials, region and endpoint come from the environment."""

import os
from dataclasses import dataclass
from typing import Any, Self

import boto3
from botocore.config import Config

from infra_scripts.errors import StackError, one_line
from infra_scripts.stack import Place

_CONFIG = Config(
    connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4}
)


@dataclass(frozen=True, slots=True)
class Clients:
    """One client for each service the stack touches, all in one region."""

    s3: Any
    sqs: Any
    logs: Any
    sts: Any

    @classmethod
    @one_line()
    def connect(cls) -> Self:
        """From the standard chain. Raises :class:`StackError` where that names no region."""
        # boto3 itself reads only AWS_DEFAULT_REGION; every other AWS tool reads AWS_REGION.
        session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
        try:
            return cls(
                **{name: session.client(name, config=_CONFIG) for name in cls.__dataclass_fields__}
            )
        except ValueError as error:
            raise StackError(f"{error}: correct AWS_ENDPOINT_URL, e.g. http://host:port") from error

    @one_line()
    def place(self) -> Place:
        """Ask AWS who and where we are; needs no permission."""
        identity = self.sts.get_caller_identity()
        partition = identity["Arn"].split(":")[1]
        endpoints = [client.meta.endpoint_url for client in (self.s3, self.sqs)]
        encrypted = all(endpoint.startswith("https:") for endpoint in endpoints)
        return Place(partition, self.sqs.meta.region_name, identity["Account"], encrypted)

    def close(self) -> None:
        """Close the connections; the clients are of no use afterwards."""
        for client in (self.s3, self.sqs, self.logs, self.sts):
            client.close()
