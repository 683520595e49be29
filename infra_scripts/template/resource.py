"""A resource of the template: a dictionary as CloudFormation spells it, with its reasons beside it."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from infra_scripts.stack import Place

Resource = dict[str, object]
Fate = Literal["Delete", "Retain"]

# The place that CloudFormation fills in when it deploys: a template with it fits every account.
ANYWHERE: Final = Place("${AWS::Partition}", "${AWS::Region}", "${AWS::AccountId}")


def resource(
    kind: str,
    purpose: str,
    properties: Mapping[str, object],
    *,
    deleted: Fate | None = None,
    replaced: Fate | None = None,
    after: Iterable[str] = (),
    accepted: Mapping[str, str] | None = None,
) -> Resource:
    """One resource; ``purpose`` says what it is there for, to whoever reads the template.

    ``deleted`` and ``replaced`` say what happens to it when the stack is deleted, or when another takes
    its place. ``after`` names the resources that must exist first, where no reference says so.
    ``accepted`` has, by the id of a check, the reason why checkov's finding is not a fault here.
    """
    metadata: Resource = {"Purpose": purpose}
    if accepted:
        skipped = [{"id": check, "comment": reason} for check, reason in accepted.items()]
        metadata["checkov"] = {"skip": skipped}
    made: Resource = {"Type": kind, "Metadata": metadata}
    if after := list(after):
        made["DependsOn"] = after
    if deleted:
        made["DeletionPolicy"] = deleted
    if replaced:
        made["UpdateReplacePolicy"] = replaced
    if properties:
        made["Properties"] = dict(properties)
    return made


def ref(name: str) -> Resource:
    """What CloudFormation calls the reference to a resource or a parameter."""
    return {"Ref": name}


def attribute(name: str, member: str) -> Resource:
    """An attribute of a resource."""
    return {"Fn::GetAtt": [name, member]}


def substituted(value: object) -> object:
    """``value`` with ``Fn::Sub`` around each string in it that has a ``${Name}`` to fill in.

    ``${!Name}`` is how to write what should stay ``${Name}``. Strings that are in ``Fn::Sub`` already
    stay as they are.
    """
    if isinstance(value, str):
        return {"Fn::Sub": value} if "${" in value else value
    if isinstance(value, list):
        return [substituted(each) for each in value]
    if isinstance(value, dict) and "Fn::Sub" not in value:
        return {name: substituted(member) for name, member in value.items()}
    return value
