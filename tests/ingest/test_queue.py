"""The queue: its calls and their partial failures, its depth, and which errors no retry mends."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError, EndpointConnectionError

from common import aws_errors
from infra_scripts.embedded import EmbeddedAws
from ingest import queue
from ingest.events import message, parse
from ingest.queue import BATCH, Delivery, Depth, Queue, connect, unusable
from tests.support.aws import DeployedStack
from tests.support.object_events import event
from tests.support.traffic import TEST_EVENT, Client, counts, refusal, send

MISSING = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
NAMED = {"AuthFailure", "IncompleteSignature", "InvalidSignatureException", "OptInRequired"}
FATAL = sorted(MISSING | NAMED | aws_errors.DENIED | aws_errors.BAD_CREDENTIALS)


@pytest.fixture
def sqs_queue(stack: DeployedStack) -> Queue:
    return Queue(stack.sqs, stack.queue_url)


def receive(sqs_queue: Queue, messages: int) -> list[Delivery]:
    """Receive as many messages as were sent."""
    received: list[Delivery] = []
    while len(received) < messages:
        got = sqs_queue.receive(wait_seconds=5, visibility_timeout_seconds=60)
        assert got, "no more arrived"
        received += [Delivery.of(each, parse(each["Body"])) for each in got]
    return received


# The client


def test_region_as_the_other_tools_of_aws_read_it(
    aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    client = connect(1)
    client.close()
    assert client.meta.region_name == "eu-west-3"


def test_the_client_outwaits_a_long_poll(aws: EmbeddedAws) -> None:
    client = connect(7)
    client.close()
    assert client.meta.config.max_pool_connections == 7
    assert client.meta.config.read_timeout > queue.LONG_POLL_SECONDS


# Deliveries


def test_a_delivery_is_what_sqs_returned() -> None:
    attributes = {"ApproximateReceiveCount": "3", "SentTimestamp": "1773489600123"}
    message: Any = {"MessageId": "m", "ReceiptHandle": "h", "Attributes": attributes}
    delivery = Delivery.of(message, (event(size=3), event(size=None), event(size=4)))
    assert (delivery.message_id, delivery.receipt_handle) == ("m", "h")
    assert delivery.receive_count == 3
    assert delivery.sent_at == datetime(2026, 3, 14, 12, 0, 0, 123_000, tzinfo=UTC)
    assert delivery.bytes == 7


def test_a_delivery_without_attributes_was_sent_just_now() -> None:
    before = datetime.now(UTC)
    delivery = Delivery.of({"MessageId": "m", "ReceiptHandle": "h"}, ())
    assert delivery.receive_count == 1
    assert abs(before - delivery.sent_at).total_seconds() < 1


# Calls


def test_receives_hides_and_deletes(stack: DeployedStack, sqs_queue: Queue) -> None:
    assert sqs_queue.receive(wait_seconds=0, visibility_timeout_seconds=60) == []
    send(stack, *(f"k{n}" for n in range(BATCH)))
    deliveries = receive(sqs_queue, BATCH)
    assert counts(stack) == (0, BATCH)
    assert sqs_queue.hide(deliveries[:4], 0) == []
    assert counts(stack) == (4, BATCH - 4)
    assert sqs_queue.delete(deliveries[4:]) == []
    assert counts(stack) == (4, 0)


def test_a_call_for_several_names_those_that_failed(stack: DeployedStack, sqs_queue: Queue) -> None:
    send(stack, "a", "b", "c")
    deliveries = receive(sqs_queue, 3)
    sqs_queue.delete(deliveries[1:2])
    (failure,) = sqs_queue.hide(deliveries, 30)
    assert (failure.delivery, failure.lost) == (deliveries[1], True)


def test_a_failure_of_sqs_does_not_lose_the_message(stack: DeployedStack) -> None:
    def busy(**request: Any) -> Any:
        last = request["Entries"][-1]["Id"]
        return {"Failed": [{"Id": last, "SenderFault": False, "Code": "InternalError"}]}

    deliveries = [Delivery.of({"MessageId": each, "ReceiptHandle": each}, ()) for each in "ab"]
    failing = Queue(Client(stack.sqs, {"delete_message_batch": busy}), stack.queue_url)
    (failure,) = failing.delete(deliveries)
    assert (failure.delivery, failure.lost) == (deliveries[1], False)


# Depth


def test_events_of_the_longest_keys_are_sent(stack: DeployedStack) -> None:
    """In as many requests as it takes: until 2025 SQS took 256 KiB in one."""
    sizes: list[int] = []

    def send(**request: Any) -> Any:
        sizes.append(sum(len(each["MessageBody"]) for each in request["Entries"]))
        return stack.sqs.send_message_batch(**request)

    keys = [f"{n:03}{'ü' * 510}" for n in range(100)]
    bodies = [message([event(key) for key in keys[at : at + 10]]) for at in range(0, 100, 10)]
    Queue(Client(stack.sqs, {"send_message_batch": send}), stack.queue_url).send_all(bodies)
    assert sum(sizes) == sum(map(len, bodies)) > 1 << 18
    assert max(sizes) <= 1 << 18
    sent = [body["Records"][0]["s3"]["object"]["key"][:3] for body in stack.drain()]
    assert sorted(sent) == [key[:3] for key in keys[::10]]


def test_depth(stack: DeployedStack, sqs_queue: Queue) -> None:
    assert sqs_queue.depth() == Depth(visible=0, in_flight=0, delayed=0)
    send(stack, "a", "b", "c")
    sqs_queue.hide(receive(sqs_queue, 3)[:2], 0)
    for _ in range(3):
        stack.sqs.send_message(QueueUrl=stack.queue_url, MessageBody=TEST_EVENT, DelaySeconds=900)
    assert sqs_queue.depth() == Depth(visible=2, in_flight=1, delayed=3)
    assert sqs_queue.depth().total == 6


def test_depth_where_an_implementation_counts_only_what_is_visible(stack: DeployedStack) -> None:
    def bare(**request: Any) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": "2"}}

    depth = Queue(Client(stack.sqs, {"get_queue_attributes": bare}), stack.queue_url).depth()
    assert depth == Depth(visible=2, in_flight=0, delayed=0)


def test_an_unknown_depth_is_not_zero(stack: DeployedStack) -> None:
    def bare(**request: Any) -> Any:
        return {"Attributes": {}}

    with pytest.raises(KeyError):
        Queue(Client(stack.sqs, {"get_queue_attributes": bare}), stack.queue_url).depth()
    with pytest.raises(ClientError):
        Queue(stack.sqs, f"{stack.queue_url}-missing").depth()


# Errors


@pytest.mark.parametrize("code", FATAL)
def test_what_no_retry_mends_names_queue_and_code(code: str) -> None:
    fault = unusable(refusal(code), "https://queue")
    assert str(fault).startswith("queue https://queue: ")
    assert str(fault).endswith(f"({code})")


@pytest.mark.parametrize("code", ["KMS.DisabledException", "KmsAccessDenied", "KmsInvalidState"])
def test_a_key_that_cannot_be_used_is_named(code: str) -> None:
    assert "KMS key cannot be used" in str(unusable(refusal(code), "https://queue"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (boto.UnauthorizedSSOTokenError(), "run aws sso login"),
        (boto.TokenRetrievalError(provider="sso", error_msg="expired"), "expired"),
        (boto.NoCredentialsError(), "set AWS_PROFILE"),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole"),
            "grant sts:AssumeRole",
        ),
        (RuntimeError("the refreshed credentials are still expired."), "still expired"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_credentials_that_cannot_be_renewed_are_an_error_of_the_queue(
    error: Exception, words: str
) -> None:
    fault = str(unusable(error, "https://queue"))
    assert fault.startswith("queue https://queue: ")
    assert words in fault
    assert "\n" not in fault


@pytest.mark.parametrize(
    "error",
    [
        refusal("ThrottlingException"),
        refusal("KmsThrottled"),
        refusal("RequestExpired"),
        boto.CredentialRetrievalError(provider="iam-role", error_msg="no answer"),
        refusal("ServiceUnavailable"),
        refusal("OverLimit"),
        EndpointConnectionError(endpoint_url="http://down"),
        KeyError("Messages"),
    ],
    ids=lambda error: str(error)[:50],
)
def test_what_may_pass_is_not_an_error_of_the_queue(error: Exception) -> None:
    assert unusable(error, "https://queue") is None
