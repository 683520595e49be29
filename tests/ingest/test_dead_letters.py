"""The dead-letter queue: found, sent to, counted; as an inbox uses it: test_inbox_malformed."""

import pytest
from botocore.exceptions import CredentialRetrievalError, EndpointConnectionError

from ingest.dead_letters import DeadLetters
from ingest.queue import Queue
from tests.support.aws import DeployedStack
from tests.support.traffic import Client, counts, receive, refusal, send, spied


def test_what_sqs_moved_is_told_from_what_was_moved_on_purpose(stack: DeployedStack) -> None:
    stack.sqs.send_message(QueueUrl=stack.dead_letter_queue_url, MessageBody="of before")
    letters = DeadLetters(Queue(stack.sqs, stack.queue_url))
    letters.find()
    assert letters.add("malformed")
    assert counts(stack, stack.dead_letter_queue_url) == (2, 0)
    assert letters.unseen() == 0
    send(stack, "a")
    for _ in range(stack.stack.max_receives + 1):
        receive(stack, 0, hidden=0)
    assert letters.unseen() == 1
    stack.sqs.purge_queue(QueueUrl=stack.dead_letter_queue_url)
    assert letters.unseen() == 0


def test_a_queue_without_a_redrive_policy_has_none(stack: DeployedStack) -> None:
    stack.sqs.set_queue_attributes(QueueUrl=stack.queue_url, Attributes={"RedrivePolicy": ""})
    letters = DeadLetters(Queue(stack.sqs, stack.queue_url))
    letters.find()
    assert letters.add("malformed") is None
    assert letters.unseen() == 0


def test_a_dead_letter_queue_that_was_deleted_is_as_good_as_none(
    stack: DeployedStack, caplog: pytest.LogCaptureFixture
) -> None:
    stack.sqs.delete_queue(QueueUrl=stack.dead_letter_queue_url)
    letters = DeadLetters(Queue(stack.sqs, stack.queue_url))
    letters.find()
    assert letters.add("malformed") is None
    assert stack.stack.dead_letter_queue in caplog.text


@pytest.mark.parametrize(
    "outage",
    [
        EndpointConnectionError(endpoint_url="http://down"),
        CredentialRetrievalError(provider="iam-role", error_msg="no answer"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_outage_while_it_is_looked_up_is_for_the_caller_to_wait_out(
    stack: DeployedStack, outage: Exception
) -> None:
    down = [True]

    def fail_once(request: object) -> None:
        if down:
            down.clear()
            raise outage

    client = Client(stack.sqs, spied(stack, "get_queue_url", fail_once))
    letters = DeadLetters(Queue(client, stack.queue_url))
    with pytest.raises(type(outage)):
        letters.find()
    letters.find()
    assert letters.add("malformed")


def test_an_outage_while_a_message_is_moved_leaves_it(
    stack: DeployedStack, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: object) -> None:
        raise refusal("ServiceUnavailable")

    client = Client(stack.sqs, spied(stack, "send_message", fail))
    letters = DeadLetters(Queue(client, stack.queue_url))
    letters.find()
    assert letters.add("malformed") is None
    assert letters.unseen() == 0
    assert "a malformed message cannot be moved" in caplog.text
