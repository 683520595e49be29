"""The AWS clients that the stack is read and changed through, and where they lead."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from common import aws
from infra_scripts.errors import as_stack_errors
from infra_scripts.stack import Place

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient
    from types_boto3_sts import STSClient


@dataclass(frozen=True, slots=True)
class Clients:
    """One client for each service that the stack uses, all in one region."""

    s3: "S3Client"
    sqs: "SQSClient"
    logs: "CloudWatchLogsClient"
    sts: "STSClient"
    cloudformation: "CloudFormationClient"

    @classmethod
    @as_stack_errors()
    def connect(cls) -> Self:
        """Clients from the standard chain; AWS is not called yet.

        Raises :class:`StackError` where the chain has no region, or an endpoint that is not a URL.
        """
        return cls(
            s3=aws.client("s3"),
            sqs=aws.client("sqs"),
            logs=aws.client("logs"),
            sts=aws.client("sts"),
            cloudformation=aws.client("cloudformation"),
        )

    @as_stack_errors()
    def place(self) -> Place:
        """Ask AWS for the caller's account, which needs no permission.

        Raises :class:`Denied` without usable credentials, :class:`Unreachable` without an answer.
        """
        identity = self.sts.get_caller_identity()
        partition = identity["Arn"].split(":")[1]
        endpoints = [client.meta.endpoint_url for client in (self.s3, self.sqs)]
        encrypted = all(endpoint.startswith("https:") for endpoint in endpoints)
        return Place(partition, self.sqs.meta.region_name, identity["Account"], encrypted=encrypted)

    def close(self) -> None:
        """Close the connections; the clients cannot be used afterwards."""
        for client in (self.s3, self.sqs, self.logs, self.sts, self.cloudformation):
            client.close()
