"""The dead-letter queue: found, sent to, counted, read; as an inbox uses it: test_inbox_malformed."""

import json
from urllib.parse import quote, quote_plus

import pytest
from botocore.exceptions import CredentialRetrievalError, EndpointConnectionError

from ingest.dead_letters import Cause, DeadLetters, Letter, received
from ingest.events import ObjectEvent, message
from ingest.queue import Queue
from tests.support.aws import DeployedStack
from tests.support.object_events import event
from tests.support.traffic import TEST_EVENT, Client, counts, receive, refusal, send, spied


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


KEY = 'photos/Äpfel/a b+c "d".jpg'
OURS = message([event(KEY)])
MIXED = message([event("k", bucket="another"), event(KEY)])
FOREIGN = message([event(KEY, bucket="another"), event("k", bucket="another")])


def letter(body: str) -> Letter:
    def is_ours(each: ObjectEvent) -> bool:
        return each.bucket == "b"

    return Letter.of({"MessageId": "m", "ReceiptHandle": "h", "Body": body}, is_ours)


def in_sns(body: str) -> str:
    return json.dumps({"Type": "Notification", "Message": body})


@pytest.mark.parametrize(
    ("body", "cause", "reason", "place"),
    [
        (OURS, Cause.VALID, "", f"s3://b/{KEY}"),
        (in_sns(OURS), Cause.VALID, "", f"s3://b/{KEY}"),
        (MIXED, Cause.VALID, "", "s3://another/k"),
        (FOREIGN, Cause.FOREIGN, "is not one of the objects", f"s3://another/{KEY}"),
        ("{", Cause.MALFORMED, "body is not JSON", None),
        ("\x1b\u202e", Cause.MALFORMED, "body is not JSON", None),
        (TEST_EVENT, Cause.NO_EVENTS, "", None),
        ('{"Records": []}', Cause.NO_EVENTS, "", None),
    ],
)
def test_the_cause_is_told_by_the_body(
    body: str, cause: Cause, reason: str, place: str | None
) -> None:
    found = letter(body)
    assert (found.cause, found.place) == (cause, place)
    assert reason in found.reason
    assert found.reason.isprintable()


def test_the_key_is_found_in_messages_about_it_however_it_is_spelt() -> None:
    for body in (OURS, MIXED, FOREIGN, in_sns(OURS)):
        assert letter(body).concerns(KEY)
        assert not letter(body).concerns("photos/other.jpg")
    malformed = '{"Records": [{"s3": {"object": {"key": "%s"}}}]}'
    for spelt in (quote_plus(KEY), quote_plus(KEY, safe="/"), quote(KEY), json.dumps(KEY)[1:-1]):
        for body in (malformed % spelt, in_sns(malformed % spelt)):
            found = letter(body)
            assert found.cause is Cause.MALFORMED
            assert found.concerns(KEY), body
            assert not found.concerns("jpg")
            assert not found.concerns("\udcff")


def test_all_are_received_until_there_are_no_others(stack: DeployedStack) -> None:
    for number in range(25):
        stack.sqs.send_message(QueueUrl=stack.dead_letter_queue_url, MessageBody=f"{number}")
    queue = Queue(stack.sqs, stack.dead_letter_queue_url)
    found = list(received(queue, lambda _: True, visibility_timeout_seconds=60))
    assert {each.body for some in found for each in some} == {str(n) for n in range(25)}
    assert counts(stack, stack.dead_letter_queue_url) == (0, 25)
