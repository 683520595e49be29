"""Resources as values: their reasons, and what CloudFormation fills in."""

from infra_scripts.template.resource import ANYWHERE, attribute, ref, resource, substituted
from tests.support.templates import resolved


def test_a_resource_says_what_it_is_for_and_what_is_accepted() -> None:
    made = resource(
        "AWS::SQS::Queue",
        "Events.",
        {"QueueName": "q"},
        deleted="Retain",
        replaced="Delete",
        after=["Bucket"],
        accepted={"CKV_1": "a reason"},
    )
    assert made == {
        "Type": "AWS::SQS::Queue",
        "Metadata": {
            "Purpose": "Events.",
            "checkov": {"skip": [{"id": "CKV_1", "comment": "a reason"}]},
        },
        "DependsOn": ["Bucket"],
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Delete",
        "Properties": {"QueueName": "q"},
    }
    assert list(resource("T", "P", {})) == ["Type", "Metadata"]


def test_names_to_fill_in_are_found_wherever_they_are() -> None:
    value = {
        "Arns": [ANYWHERE.queue_arn("q"), "plain"],
        "Given": {"Fn::Sub": "${Queue}"},
        "Kept": "${!PROP('Dim.Queue')}",
        "Ref": ref("Queue"),
        "Arn": attribute("Queue", "Arn"),
        "Days": 14,
    }
    made = substituted(value)
    assert made["Arns"][1] == "plain"  # type: ignore[index]
    here = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "1"}
    assert resolved(made, here | {"Queue": "url", "Queue.Arn": "arn"}) == {
        "Arns": ["arn:aws:sqs:eu-west-1:1:q", "plain"],
        "Given": "url",
        "Kept": "${PROP('Dim.Queue')}",
        "Ref": "url",
        "Arn": "arn",
        "Days": 14,
    }
