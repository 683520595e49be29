"""Stacks of all kinds, each with its template, for the checks of the template."""

import re
from collections.abc import Mapping
from typing import Any

from infra_scripts.release import Release
from infra_scripts.stack import Alarms, Instance, Stack
from infra_scripts.template.document import Document, document
from tests.support.aws import unique_stack

RELEASE = Release(key=f"releases/{'0' * 64}.tar.gz", sha256="0" * 64)
SUBNET = "subnet-0123456789abcdef0"
KEY = "arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def stack_on(kind: str, **settings: object) -> Stack:
    """A stack with an instance of this type."""
    return unique_stack(instance=Instance(type=kind, **settings))  # type: ignore[arg-type]


def templates() -> dict[str, Document]:
    """A template for each kind of stack, by the name of the kind."""
    mail = Alarms(email="operator@example.com")
    return {
        "no-instance": document(unique_stack()),
        "groundwork": document(stack_on("t2.xlarge")),
        "t2": document(stack_on("t2.xlarge"), release=RELEASE),
        "t3-unlimited": document(stack_on("t3.large", cpu_credits="unlimited"), release=RELEASE),
        "amd64": document(stack_on("c7i.2xlarge"), release=RELEASE),
        "arm64": document(stack_on("c7g.xlarge"), release=RELEASE),
        "subnet": document(stack_on("c7a.xlarge", subnet=SUBNET), release=RELEASE),
        "existing-bucket-with-key": document(
            unique_stack(bucket_key=KEY, weights="s3://weights/vgg16.h5#sha256=00"),
            new_bucket=False,
        ),
        "mail": document(
            unique_stack(alarms=mail, instance=Instance(type="t2.xlarge")), release=RELEASE
        ),
    }


def resolved(value: Any, values: Mapping[str, str]) -> Any:
    """What CloudFormation makes of a part of a template; a name without a value stays as ``<Name>``."""
    if isinstance(value, list):
        return [resolved(each, values) for each in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("Ref", name)]:
            return values.get(name, f"<{name}>")
        case [("Fn::GetAtt", [name, member])]:
            return values.get(f"{name}.{member}", f"<{name}.{member}>")
        case [("Fn::Sub", text)]:
            return _NAMES.sub(lambda found: _fill(found, values), text)
        case [("Fn::Join", [between, parts])]:
            return between.join(resolved(parts, values))
        case [("Fn::Base64", text)]:
            return resolved(text, values)
    return {name: resolved(member, values) for name, member in value.items()}


_NAMES = re.compile(r"\$\{(!?)([^}]+)\}")


def _fill(found: re.Match[str], values: Mapping[str, str]) -> str:
    literal, name = found.groups()
    return f"${{{name}}}" if literal else values.get(name, f"<{name}>")
