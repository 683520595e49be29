"""Calls: what a request to AWS is, as IAM sees it: operation, actions, resources and condition keys.

Actions are named after operations, batches apart. For S3 see :mod:`.s3_calls`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from infra_scripts.stack import Place

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Permission:
    """One action on one resource, with the condition keys of the request."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """An operation (``s3:HeadObject``), and the permissions that its caller needs; perhaps none.

    ``if_missing`` are those without which S3 answers 403, not 404, for an object that does not exist.
    """

    operation: str
    permissions: tuple[Permission, ...]
    if_missing: tuple[Permission, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A request over HTTP; ``headers`` by lower-case names, ``path`` not decoded."""

    service: str  # as it is signed for
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class UnknownCallError(ValueError):
    """A request that no rule here covers: add one."""


def call_of(request: Request, place: Place) -> Call:
    """What a request to any service but S3 calls. Raises :class:`UnknownCallError`."""
    operation, parameters = _operation(request)
    service = _PREFIXES.get(request.service, request.service)
    name = f"{service}:{operation}"
    if name in _FREE:
        return Call(name, ())
    action = f"{service}:{_BATCHES.get(operation, operation)}"
    resources = _RESOURCES.get(service, _any)(operation, parameters, place)
    return Call(name, tuple(Permission(action, each) for each in resources))


_PREFIXES = {"monitoring": "cloudwatch"}  # IAM's name where it is not the one that is signed for
_BATCHES = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}
_FREE = {"sts:GetCallerIdentity"}  # allowed to everybody


def _operation(request: Request) -> tuple[str, Parameters]:
    """From a header, the path, or the form, by the service's protocol."""
    target = request.headers.get("x-amz-target", "")
    if target:
        return target.rpartition(".")[2], json.loads(request.body or b"{}")
    if "/operation/" in request.path:  # in CBOR, which has no resource in what we call
        return request.path.rpartition("/")[2], {}
    form = parse_qs((request.body or b"").decode() or request.query, keep_blank_values=True)
    if "Action" not in form:
        raise UnknownCallError(f"{request.service}: {request.method} {request.path}")
    return form["Action"][0], {name: values[0] for name, values in form.items()}


def _any(operation: str, parameters: Parameters, place: Place) -> list[str]:
    return ["*"]


def _queue(operation: str, parameters: Parameters, place: Place) -> list[str]:
    name = parameters.get("QueueName") or parameters.get("QueueUrl", "*").rpartition("/")[2]
    return [place.queue_arn(name)] if operation != "ListQueues" else ["*"]


def _log_group(operation: str, parameters: Parameters, place: Place) -> list[str]:
    if operation == "DescribeLogGroups":
        return [f"{place.log_group_arn('')}:log-stream:"]
    group = place.log_group_arn(parameters.get("logGroupName", "*"))
    return [f"{group}:log-stream:{parameters.get('logStreamName', '')}"]


def _cloudformation_stack(operation: str, parameters: Parameters, place: Place) -> list[str]:
    name = parameters.get("StackName", "")
    if not name:
        return ["*"]
    arn = f"arn:{place.partition}:cloudformation:{place.region}:{place.account}:stack/{name}/id"
    return [name if name.startswith("arn:") else arn]


def _parameter(operation: str, parameters: Parameters, place: Place) -> list[str]:
    names = parameters.get("Names") or [parameters.get("Name", "*")]
    # Of the public ones, under /aws/service/, the account is left out.
    return [
        f"arn:{place.partition}:ssm:{place.region}:"
        f"{'' if name.startswith('/aws/') else place.account}:parameter/{name.lstrip('/')}"
        for name in names
    ]


_RESOURCES: Final[dict[str, Callable[[str, Parameters, Place], list[str]]]] = {
    "sqs": _queue,
    "logs": _log_group,
    "cloudformation": _cloudformation_stack,
    "ssm": _parameter,
}
