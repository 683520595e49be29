"""What exists already: adopted where it may be, refused where it belongs to others."""

import json

import pytest

from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy
from infra_scripts.errors import Conflict
from infra_scripts.stack import Place, Stack
from tests.support.aws import DeployedStack, unique_stack
from tests.support.watched import quiet, recorded


@pytest.mark.parametrize("dead", [False, True])
def test_a_queue_outside_the_stack_is_named_and_nothing_is_changed(
    clients: Clients, wanted: Stack, here: Place, dead: bool
) -> None:
    name = wanted.dead_letter_queue if dead else wanted.queue
    url = clients.sqs.create_queue(QueueName=name)["QueueUrl"]
    with (
        recorded(clients) as called,
        pytest.raises(Conflict, match=f"{name}.*not part of the stack"),
    ):
        deploy(clients, wanted, here, say=quiet)
    assert called == []
    clients.sqs.delete_queue(QueueUrl=url)


def test_a_stack_of_the_same_name_is_not_taken_over(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    """Names of queues may have underscores, which those of stacks may not."""
    other = unique_stack(queue=stack.stack.queue.replace("-", "_"))
    assert other.name == stack.stack.name
    with recorded(clients) as called, pytest.raises(Conflict, match="choose another queue"):
        deploy(clients, other, here, say=quiet)
    assert called == []


def test_a_stack_that_has_no_queue_is_not_taken_over(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    template = {"Resources": {"Theirs": {"Type": "AWS::SNS::Topic"}}}
    clients.cloudformation.create_stack(StackName=wanted.name, TemplateBody=json.dumps(template))
    with pytest.raises(Conflict, match="none of ours"):
        deploy(clients, wanted, here, say=quiet)
    clients.cloudformation.delete_stack(StackName=wanted.name)
