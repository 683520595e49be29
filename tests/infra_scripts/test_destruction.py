"""The destruction: the data stays, and a failed one is repeated."""

import pytest
from botocore.exceptions import ConnectionClosedError

from common.aws import queue_url
from infra_scripts.clients import Clients
from infra_scripts.cloudformation import state
from infra_scripts.destruction import destroy, messages
from infra_scripts.errors import Unreachable
from infra_scripts.stack import Place, Stack
from tests.support.aws import DeployedStack
from tests.support.watched import instead, quiet


def test_it_keeps_the_data(clients: Clients, stack: DeployedStack) -> None:
    stack.put("photos/a.jpg", b"photo")
    stack.put("reduced.csv", b"key,label")
    assert messages(clients, stack.stack) == {stack.stack.queue: 1}
    lines: list[str] = []
    destroy(clients, stack.stack, say=lines.append)
    kept = stack.s3.list_objects_v2(Bucket=stack.bucket)["Contents"]
    assert [entry["Key"] for entry in kept] == ["photos/a.jpg", "reduced.csv"]
    assert queue_url(stack.sqs, stack.stack.queue) is None
    assert queue_url(stack.sqs, stack.stack.dead_letter_queue) is None
    assert f"deleted   queue {stack.stack.queue}, with 1 messages in it" in lines
    assert state.find(clients.cloudformation, stack.stack.name) is None
    destroy(clients, stack.stack, say=lines.append)
    assert f"absent    stack {stack.stack.name}" in lines


def test_a_failed_one_is_repeated(clients: Clients, stack: DeployedStack) -> None:
    cut = ConnectionClosedError(endpoint_url="http://aws")
    for step in ("PutBucketNotificationConfiguration", "DeleteStack", "DescribeStackEvents"):
        with instead(clients, step, cut), pytest.raises(Unreachable):
            destroy(clients, stack.stack, say=quiet)
    destroy(clients, stack.stack, say=quiet)
    assert queue_url(stack.sqs, stack.stack.queue) is None
    assert state.find(clients.cloudformation, stack.stack.name) is None


def test_what_is_not_of_the_stack_stays(clients: Clients, wanted: Stack, here: Place) -> None:
    url = clients.sqs.create_queue(QueueName=wanted.queue)["QueueUrl"]
    clients.sqs.send_message(QueueUrl=url, MessageBody="theirs")
    assert messages(clients, wanted) == {}
    lines: list[str] = []
    destroy(clients, wanted, say=lines.append)
    assert f"kept      queue {wanted.queue}, which is not part of the stack" in lines
    assert queue_url(clients.sqs, wanted.queue) is not None
    clients.sqs.delete_queue(QueueUrl=url)
