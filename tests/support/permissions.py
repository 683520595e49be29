"""Calls that the embedded AWS has recorded, compared with policies: what is lacking, what is unused."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra_scripts.embedded.iam import allows, concerns, members, statements

# What S3 and SQS request of KMS on behalf of the caller, where a bucket or a queue has a key.
_OF_KMS = {
    "s3:GetObject": ("kms:Decrypt",),
    "s3:PutObject": ("kms:GenerateDataKey",),
    "s3:CopyObject": ("kms:Decrypt", "kms:GenerateDataKey"),
    "s3:CreateMultipartUpload": ("kms:GenerateDataKey",),
    "s3:UploadPart": ("kms:Decrypt", "kms:GenerateDataKey"),
    "s3:CompleteMultipartUpload": ("kms:Decrypt",),
    "sqs:ReceiveMessage": ("kms:Decrypt",),
    "sqs:SendMessage": ("kms:Decrypt", "kms:GenerateDataKey"),
    "sqs:SendMessageBatch": ("kms:Decrypt", "kms:GenerateDataKey"),
}


@dataclass(frozen=True)
class Need:
    """A permission that a call needed."""

    operation: str
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def recorded(file: Path, caller: str) -> set[Need]:
    """What the calls of one access key needed, denied ones included."""
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {
        Need(
            line["operation"],
            each["action"],
            each["resource"],
            tuple((name, value) for name, value in each["context"]),
        )
        for line in lines
        if line["caller"] == caller
        for each in line["permissions"]
    }


def of_kms(needs: Iterable[Need], resource: str, key: str, region: str) -> set[Need]:
    """What they need of ``key``, if what begins with ``resource`` is encrypted with it."""
    return {
        Need(
            need.operation, action, key, (("kms:ViaService", f"{service}.{region}.amazonaws.com"),)
        )
        for need in needs
        if need.resource.startswith(resource)
        for service in [need.operation.partition(":")[0]]
        for action in _OF_KMS.get(need.operation, ())
    }


def lacking(document: dict[str, Any], needs: Iterable[Need]) -> list[str]:
    """The needs that a policy does not meet."""
    return sorted(
        f"{need.action} on {need.resource} {dict(need.context) or ''} ({need.operation})"
        for need in needs
        if not allows([document], need.action, need.resource, dict(need.context))
    )


def unused(document: dict[str, Any], needs: Iterable[Need]) -> list[str]:
    """The permissions that no need is met by: each action on each resource under each condition."""
    found = list(needs)
    return [
        f"{statement.get('Sid')}: {described}"
        for statement in statements(document)
        for described, single in _singles(statement)
        if not any(
            concerns(single, each.action, each.resource, dict(each.context)) for each in found
        )
    ]


def _singles(statement: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The statement for each action and resource; and for each value of a condition, met or not so.

    A condition that may be absent (``IfExists``) must be there for its value to be used.
    """
    for action in members(statement["Action"]):
        for resource in members(statement["Resource"]):
            single = {**statement, "Action": action, "Resource": resource}
            yield f"{action} on {resource}", single
            for operator, keys in statement.get("Condition", {}).items():
                for key, values in keys.items():
                    for value in members(values):
                        there = {operator.removesuffix("IfExists"): {key: value}}
                        name = f"{action} on {resource} where {key} is {value}"
                        yield name, {**single, "Condition": there}
