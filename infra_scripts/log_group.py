"""The log group: where the service's log goes when ``logs.cloudwatch`` is set."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from infra_scripts.parts import Part

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_logs.type_defs import DescribeLogGroupsResponseTypeDef, LogGroupTypeDef

Retention = dict[str, int | None]  # None: the lines are kept without limit


def part(logs: "CloudWatchLogsClient", name: str, retention_days: int) -> Part[Retention]:
    """The group and its retention."""

    def read() -> Retention | None:
        group = find(logs, name)
        return None if group is None else {"retention_days": group.get("retentionInDays")}

    def write(before: Retention | None, after: Retention) -> None:
        if before is None:
            logs.create_log_group(logGroupName=name)
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


def delete(logs: "CloudWatchLogsClient", name: str) -> bool:
    """Delete the group with its lines; False where it does not exist.

    The lines cannot be recovered. Raises botocore's ``ClientError`` or ``BotoCoreError``; the group
    then still exists, or is deleted and the next call returns False.
    """
    if find(logs, name) is None:
        return False
    logs.delete_log_group(logGroupName=name)
    return True
