"""The CloudFormation template of a stack, as a whole."""

import json

from infra_scripts.release import Release
from infra_scripts.stack import Place, Stack
from infra_scripts.template import bucket, log_group, queues, role
from infra_scripts.template.resource import ANYWHERE, Resource, ref, substituted

Document = dict[str, object]  # a template, its members spelt as CloudFormation spells them
Section = dict[str, Resource]


def document(
    stack: Stack,
    place: Place = ANYWHERE,
    *,
    new_bucket: bool = True,
    release: Release | None = None,
) -> Document:
    """The template that declares ``stack``.

    ``new_bucket`` is false for a bucket that this stack has not made and does not own. Without a
    ``release`` there is nothing to install: the groundwork alone is declared (bucket, queues, log group,
    role), to which a release can be uploaded.
    """
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Fruits",
        "Resources": substituted(_resources(stack, place, new_bucket=new_bucket)),
        "Outputs": substituted({"QueueUrl": {"Value": ref("Queue")}}),
    }


def text(template: Document) -> str:
    """The template for a reader: JSON, in the order of its sections."""
    return json.dumps(template, indent=2)


def _resources(stack: Stack, place: Place, *, new_bucket: bool) -> Section:
    return {
        **queues.resources(stack, place),
        **(bucket.resources(stack, place) if new_bucket else {}),
        **log_group.resources(stack),
        **role.resources(stack, place),
    }
