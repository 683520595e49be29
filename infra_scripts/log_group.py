"""A log group that exists already: adopted with its lines, for the configured retention."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from infra_scripts.parts import Part

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_logs.type_defs import DescribeLogGroupsResponseTypeDef, LogGroupTypeDef

Retention = dict[str, int | None]  # None: the lines are kept without limit


def part(logs: "CloudWatchLogsClient", name: str, retention_days: int) -> Part[Retention]:
    """The retention of the group, which must exist when it is written."""

    def read() -> Retention | None:
        group = find(logs, name)
        return None if group is None else {"retention_days": group.get("retentionInDays")}

    def write(before: Retention | None, after: Retention) -> None:
        logs.put_retention_policy(logGroupName=name, retentionInDays=retention_days)

    return Part(f"log group {name}", read, lambda before: {"retention_days": retention_days}, write)


def find(logs: "CloudWatchLogsClient", name: str) -> "LogGroupTypeDef | None":
    """What CloudWatch knows of the group, None where it does not exist.

    Raises botocore's ``ClientError`` or ``BotoCoreError``.
    """
    pages: Iterable[DescribeLogGroupsResponseTypeDef] = logs.get_paginator(
        "describe_log_groups"
    ).paginate(logGroupNamePrefix=name)
    for page in pages:
        for group in page["logGroups"]:
            if group["logGroupName"] == name:
                return group
    return None
