"""The CloudFormation of the embedded AWS: moto's, completed so that our template deploys into it.

moto executes a change set without events of its resources, does not roll back where one fails, leaves
the stack's outputs as they were, and takes a template for YAML, which takes a second for ours. What it
lacks of the resources themselves is in :mod:`infra_scripts.embedded.resources`.

It knows no drift: a change set compares templates only, whatever ``DeploymentMode`` says.
"""

import json
from typing import Any

from moto.cloudformation import models, parsing

from infra_scripts.embedded import resources

_parse_by_moto: Any = models.Stack.parse_template
_create_by_moto: Any = parsing.parse_and_create_resource
_update_by_moto: Any = parsing.parse_and_update_resource
_delete_by_moto: Any = parsing.ResourceMap._delete_resource


def _parse_template(template: str) -> Any:
    return json.loads(template) if template.startswith("{") else _parse_by_moto(template)


def _parse_of_change_set(change_set: models.ChangeSet) -> None:
    change_set.template_dict = _parse_template(change_set.template)


def _execute_change_set(
    backend: models.CloudFormationBackend, change_set_name: str, stack_name: str | None = None
) -> None:
    change_set: Any = backend.describe_change_set(change_set_name)
    stack: Any = backend.stacks[change_set.stack_id]
    kind = change_set.change_set_type
    before = stack.template_dict
    stack._add_stack_event(f"{kind}_IN_PROGRESS", resource_status_reason="User Initiated")
    try:
        change_set.apply()
    except Exception as error:  # whatever moto refuses a property with
        _roll_back(stack, kind, before, str(error))
    else:
        stack.template = change_set.template
        stack._parse_template()
        stack.output_map = stack._create_output_map()
        stack.status = f"{kind}_COMPLETE"
        stack._add_stack_event(stack.status)
        for gone in before.get("Resources", {}).keys() - stack.template_dict["Resources"].keys():
            stack.resource_map._parsed_resources.pop(gone, None)
    change_set.execution_status = "EXECUTE_COMPLETE"


def _roll_back(stack: Any, kind: str, before: dict[str, Any], reason: str) -> None:
    """Undo what was done; a new stack stays, empty, as it does on AWS."""
    status = "ROLLBACK" if kind == "CREATE" else "UPDATE_ROLLBACK"
    stack._add_stack_event(f"{status}_IN_PROGRESS", resource_status_reason=reason)
    try:
        stack.resource_map.update({"Resources": {}} if kind == "CREATE" else before)
    except Exception as error:  # as above
        stack.status = f"{status}_FAILED"
        stack._add_stack_event(stack.status, resource_status_reason=str(error))
        return
    if kind == "CREATE":
        stack.resource_map._parsed_resources.clear()
    stack.status = f"{status}_COMPLETE"
    stack._add_stack_event(stack.status)


def _create_resource(
    logical_id: str, resource_json: Any, resources_map: Any, account_id: str, region_name: str
) -> Any:
    arguments = (logical_id, resource_json, resources_map, account_id, region_name)
    return _with_events("CREATE", _create_by_moto, *arguments)


def _update_resource(
    logical_id: str, resource_json: Any, resources_map: Any, account_id: str, region_name: str
) -> Any:
    arguments = (logical_id, resource_json, resources_map, account_id, region_name)
    return _with_events("UPDATE", _update_by_moto, *arguments)


def _with_events(
    action: str, act: Any, logical_id: str, resource_json: Any, resources_map: Any, *where: str
) -> Any:
    """What ``act`` returns, with an event of its end; where several fail, that of the cause is first."""
    stack = models.cloudformation_backends[where[0]][where[1]].stacks[resources_map.stack_id]
    kind = resource_json["Type"]
    try:
        made = act(logical_id, resource_json, resources_map, *where)
    except Exception as error:
        _add_event(stack, logical_id, kind, f"{action}_FAILED", "", str(error))
        raise
    physical = str(getattr(made, "physical_resource_id", ""))
    _add_event(stack, logical_id, kind, f"{action}_COMPLETE", physical)
    return made


def _add_event(
    stack: models.Stack, name: str, kind: str, status: str, physical: str, reason: str | None = None
) -> None:
    event: Any = models.Event(
        stack_id=stack.stack_id,
        stack_name=stack.name,
        logical_resource_id=name,
        physical_resource_id=physical,
        resource_type=kind,
        resource_status=status,
        resource_status_reason=reason,
        resource_properties=None,
    )
    stack.events.append(event)


def _delete_resource(map_: parsing.ResourceMap, parsed: Any, resource_json: dict[str, Any]) -> None:
    if resource_json.get("DeletionPolicy") != "Retain":  # which moto heeds for a whole stack only
        _delete_by_moto(map_, parsed, resource_json)


def install() -> None:
    """Make moto's CloudFormation work this way; call once, before the first request for it."""
    untyped: Any = models  # so that its functions can be replaced
    untyped.Stack.parse_template = staticmethod(_parse_template)
    untyped.ChangeSet._parse_template = _parse_of_change_set
    untyped.CloudFormationBackend.execute_change_set = _execute_change_set
    untyped = parsing
    untyped.parse_and_create_resource = _create_resource
    untyped.parse_and_update_resource = _update_resource
    untyped.ResourceMap._delete_resource = _delete_resource
    resources.install()
