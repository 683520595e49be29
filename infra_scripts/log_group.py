"""The log group: where the service's log goes when CloudWatch is asked for."""

from typing import Any

from infra_scripts.parts import Part


def part(logs: Any, name: str, retention_days: int) -> Part:
    """The group and its retention."""

    def read() -> dict[str, Any] | None:
        group = find(logs, name)
        return None if group is None else {"retention_days": group.get("retentionInDays")}

    def write(before: Any, after: dict[str, Any]) -> None:
        if before is None:
            logs.create_log_group(logGroupName=name)
        logs.put_retention_policy(logGroupName=name, retentionInDays=after["retention_days"])

    return Part(f"log group {name}", read, lambda before: {"retention_days": retention_days}, write)


def find(logs: Any, name: str) -> dict[str, Any] | None:
    """What CloudWatch says of the group, or None where there is none."""
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name):
        for group in page["logGroups"]:
            if group["logGroupName"] == name:
                return group
    return None


def delete(logs: Any, name: str) -> bool:
    """Delete the group with its lines; False where there is none."""
    if find(logs, name) is None:
        return False
    logs.delete_log_group(logGroupName=name)
    return True
