"""The embedded AWS' CloudFormation: events, rollback, and what a change set removes or keeps."""

import json
from typing import Any

from infra_scripts.clients import Clients
from infra_scripts.cloudformation import state
from tests.support.aws import unique_stack

TOPIC = {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": "topic"}}


def deploy(clients: Clients, name: str, resources: dict[str, Any]) -> list[tuple[str, str]]:
    """Deploy these resources; the events of it, the first of them first."""
    client = clients.cloudformation
    kind = "UPDATE" if state.find(client, name) else "CREATE"
    template = json.dumps({"Resources": resources, "Outputs": {"It": {"Value": {"Ref": "A"}}}})
    made = client.create_change_set(
        StackName=name, ChangeSetName=f"c{kind}", ChangeSetType=kind, TemplateBody=template
    )
    before = len(client.describe_stack_events(StackName=made["StackId"])["StackEvents"])
    client.execute_change_set(ChangeSetName=made["Id"])
    client.delete_change_set(ChangeSetName=made["Id"])
    events = client.describe_stack_events(StackName=made["StackId"])["StackEvents"]
    return [
        (each["LogicalResourceId"], each["ResourceStatus"])
        for each in events[::-1][before:]
        if each["LogicalResourceId"] != name
    ]


def test_events_outputs_and_what_is_retained(clients: Clients) -> None:
    name = unique_stack().name
    queue = {"Type": "AWS::SQS::Queue", "DeletionPolicy": "Retain"}
    queue["Properties"] = {"QueueName": name}
    made = deploy(clients, name, {"A": TOPIC, "Q": queue})
    assert made == [("A", "CREATE_COMPLETE"), ("Q", "CREATE_COMPLETE")]
    [stack] = clients.cloudformation.describe_stacks(StackName=name)["Stacks"]
    assert [each["OutputKey"] for each in stack["Outputs"]] == ["It"]
    assert deploy(clients, name, {"A": TOPIC, "B": TOPIC}) == [("B", "CREATE_COMPLETE")]
    found = state.find(clients.cloudformation, name)
    assert found
    assert found.resources.keys() == {"A", "B"}
    assert clients.sqs.get_queue_url(QueueName=name)  # retained
    clients.cloudformation.delete_stack(StackName=name)
    clients.sqs.delete_queue(QueueUrl=clients.sqs.get_queue_url(QueueName=name)["QueueUrl"])


def test_what_fails_is_undone(clients: Clients) -> None:
    name = unique_stack().name
    clients.logs.create_log_group(logGroupName=f"/{name}")
    group = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": f"/{name}"}}
    deploy(clients, name, {"A": TOPIC})
    topics = {"A": TOPIC, "B": TOPIC}
    events = deploy(clients, name, {**topics, "Group": group})
    assert events == [("B", "CREATE_COMPLETE"), ("Group", "CREATE_FAILED")]
    found = state.find(clients.cloudformation, name)
    assert found
    assert found.status == "UPDATE_ROLLBACK_COMPLETE"
    assert found.resources.keys() == {"A"}
    clients.cloudformation.delete_stack(StackName=name)
    clients.logs.delete_log_group(logGroupName=f"/{name}")
