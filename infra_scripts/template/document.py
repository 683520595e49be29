"""The CloudFormation template of a stack, as a whole.

It is JSON in an order for readers: what it is, what it contains, then the resources from the data to
the machine and what watches it, each with its purpose. It needs no AWS call: account, region and
partition are CloudFormation's own parameters.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from infra_scripts.stack import Place, Stack
from infra_scripts.template import (
    alarms,
    bucket,
    dashboard,
    instance,
    log_group,
    network,
    queries,
    queues,
    role,
)
from infra_scripts.template.resource import ANYWHERE, Resource, attribute, ref, substituted

if TYPE_CHECKING:
    from infra_scripts.release import Release

Document = dict[str, object]  # a template, its members spelt as CloudFormation spells them
Section = dict[str, Resource]

# What CloudFormation takes with a call.
MOST_INLINE_BYTES = 51_200

# What watches the service.
_WATCHING: Final[dict[str, Callable[[Stack], Section]]] = {
    "Alarms": alarms.resources,
    "Dashboard": dashboard.resources,
    "Queries": queries.resources,
}


def document(
    stack: Stack,
    place: Place = ANYWHERE,
    *,
    new_bucket: bool = True,
    new_log_group: bool = True,
    release: "Release | None" = None,
) -> Document:
    """The template that declares ``stack``.

    ``new_bucket`` says whether the bucket is the stack's own: it stays true for as long as the deployed
    stack has the resource ``Bucket``; likewise ``new_log_group``. Where an instance is configured but
    there is no ``release`` yet, the template is the groundwork alone: the data and the role, to which a
    release can be uploaded. That is for a stack that is new: of another it would delete the instance.
    """
    sections = _sections(stack, place, new_bucket=new_bucket, release=release)
    resources = {name: each for section in sections.values() for name, each in section.items()}
    made: Document = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": (
            f"Fruits: photos in the bucket {stack.bucket} become features and a reduced matrix. Made "
            "from config.toml by: python -m infra_scripts template. The bucket's notifications to the "
            "queue are not in it: deploy merges them into those that others have set."
        ),
        "Metadata": {"Contents": {title: list(section) for title, section in sections.items()}},
    }
    if parameters := network.parameters(stack) if "Instance" in resources else {}:
        made["Parameters"] = parameters
    made["Resources"] = substituted(resources)
    made["Outputs"] = substituted(_outputs(stack, with_instance="Instance" in resources))
    return made if new_log_group else _without(made, "LogGroup", stack.log_group)


def _without(value: Any, gone: str, name: str) -> Any:
    """The template, or a part of it, without the resource ``gone``, which exists as ``name``."""
    if value == ref(gone):
        return name
    if isinstance(value, list):
        return [_without(each, gone, name) for each in value if each != gone]
    if isinstance(value, dict):
        return {key: _without(each, gone, name) for key, each in value.items() if key != gone}
    return value


def text(template: Document) -> str:
    """The template for a reader."""
    return json.dumps(template, indent=2)


def compact(template: Document) -> str:
    """The same template for CloudFormation, in as few bytes as possible, all of them ASCII."""
    return json.dumps(template, separators=(",", ":"))


def _sections(
    stack: Stack, place: Place, *, new_bucket: bool, release: "Release | None"
) -> dict[str, Section]:
    """The resources by what they are about; without any, a section is left out."""
    sections = {
        "Queues": queues.resources(stack, place),
        "Bucket": bucket.resources(stack, place) if new_bucket else {},
        "Log": log_group.resources(stack),
        "Permissions": role.resources(stack, place),
    }
    if not stack.instance.type:
        sections |= {title: watch(stack) for title, watch in _WATCHING.items()}
    elif release:
        sections["Network"] = network.resources()
        sections["Machine"] = instance.resources(stack, release)
        installed = instance.installed(stack, release)
        sections |= {t: _after(installed, watch(stack)) for t, watch in _WATCHING.items()}
    return {title: section for title, section in sections.items() if section}


def _after(installed: str, section: Section) -> Section:
    """The section with its alarms made last: before the service runs, its silence is no alarm."""
    made: Section = {}
    for name, each in section.items():
        others = each.get("DependsOn", [])
        if str(each["Type"]).endswith("Alarm") and isinstance(others, list):
            made[name] = each | {"DependsOn": [*others, installed]}
        else:
            made[name] = each
    return made


def _outputs(stack: Stack, *, with_instance: bool) -> Document:
    outputs: dict[str, tuple[str, object]] = {
        "QueueUrl": ("The queue of the bucket's events", ref("Queue")),
        "DeadLetterQueueUrl": ("The queue of its dead letters", ref("DeadLetterQueue")),
        "BucketName": ("The bucket of photos, features and the matrix", stack.bucket),
        "LogGroupName": ("The log group of the service", ref("LogGroup")),
        "InstanceProfileName": (
            "The instance profile for a machine that runs the service",
            ref("InstanceProfile"),
        ),
        "RoleArn": ("The role that it carries", attribute("Role", "Arn")),
    }
    if with_instance:
        outputs["InstanceId"] = ("The machine that runs the service", ref("Instance"))
        outputs["Shell"] = (
            "Opens a shell on it, with the Session Manager plugin of the AWS CLI",
            "aws ssm start-session --region ${AWS::Region} --target ${Instance}",
        )
    return {
        name: {"Description": description, "Value": value}
        for name, (description, value) in outputs.items()
    }
