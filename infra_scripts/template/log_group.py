"""The log group in the template: where the service's lines go."""

from infra_scripts.stack import Stack
from infra_scripts.template.resource import Resource, resource


def resources(stack: Stack) -> dict[str, Resource]:
    """The group; a renamed one is kept, and empties as its lines reach their age."""
    return {
        "LogGroup": resource(
            "AWS::Logs::LogGroup",
            "The service's log as JSON lines, its metrics among them.",
            {"LogGroupName": stack.log_group, "RetentionInDays": stack.log_retention_days},
            deleted="Delete",
            replaced="Retain",
            accepted={
                "CKV_AWS_158": "CloudWatch encrypts every group; a key of one's own costs a dollar a "
                "month, and the lines hold names of objects, neither photos nor secrets"
            },
        )
    }
