"""The queues of the embedded SQS: long polls, redelivery, dead letters, many at once, and speed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from infra_scripts.embedded import EmbeddedAws
from tests.support.aws import DeployedStack


def test_a_long_poll_wakes_at_once_costs_nothing_and_blocks_nobody(
    aws: EmbeddedAws, stack: DeployedStack
) -> None:
    woken: list[float] = []

    def poll() -> None:
        stack.sqs.receive_message(QueueUrl=stack.queue_url, WaitTimeSeconds=20)
        woken.append(time.monotonic())

    before = aws.cpu_seconds
    poller = threading.Thread(target=poll)
    poller.start()
    time.sleep(1.5)
    assert aws.cpu_seconds - before < 0.2
    assert not woken
    put_at = time.monotonic()
    stack.put("photos/a.jpg")
    poller.join(5)
    assert woken[0] - put_at < 0.5


def test_a_hidden_message_comes_back_and_ends_as_a_dead_letter(stack: DeployedStack) -> None:
    sqs, url = stack.sqs, stack.queue_url
    stack.put("photos/a.jpg")

    def receive(hide: int, wait: int = 0) -> list[str]:
        answer = sqs.receive_message(
            QueueUrl=url, VisibilityTimeout=hide, WaitTimeSeconds=wait, AttributeNames=["All"]
        )
        return [message["ReceiptHandle"] for message in answer.get("Messages", [])]

    [handle] = receive(hide=60)
    assert receive(hide=60) == []
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    assert len(receive(hide=1)) == 1
    assert len(receive(hide=0, wait=3)) == 1  # the poll ends when the second is over
    assert [len(receive(hide=0)) for _ in range(4)] == [1, 1, 0, 0]
    answer = sqs.receive_message(QueueUrl=stack.dead_letter_queue_url, WaitTimeSeconds=0)
    assert len(answer["Messages"]) == 1


def test_no_message_is_lost_or_doubled_among_senders_and_receivers(stack: DeployedStack) -> None:
    senders, each = 4, 50
    received: list[str] = []

    def send(sender: int) -> None:
        for number in range(each):
            stack.sqs.send_message(QueueUrl=stack.queue_url, MessageBody=f"{sender}-{number}")

    def receive(_: int) -> None:
        while len(received) < senders * each:
            answer = stack.sqs.receive_message(
                QueueUrl=stack.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )
            for message in answer.get("Messages", []):
                received.append(message["Body"])
                stack.sqs.delete_message(
                    QueueUrl=stack.queue_url, ReceiptHandle=message["ReceiptHandle"]
                )

    with ThreadPoolExecutor(8) as pool:
        sending = [pool.submit(send, number) for number in range(senders)]
        receiving = [pool.submit(receive, number) for number in range(4)]
        for future in sending + receiving:
            future.result(30)
    assert len(received) == senders * each
    assert len(set(received)) == senders * each


def test_a_long_queue_stays_fast(aws: EmbeddedAws, stack: DeployedStack) -> None:
    entries = [{"Id": str(number), "MessageBody": "x" * 500} for number in range(10)]
    for _ in range(200):
        stack.sqs.send_message_batch(QueueUrl=stack.queue_url, Entries=entries)
    before = aws.cpu_seconds
    for _ in range(20):
        messages = stack.sqs.receive_message(QueueUrl=stack.queue_url, MaxNumberOfMessages=10)
        handles = [
            {"Id": message["MessageId"], "ReceiptHandle": message["ReceiptHandle"]}
            for message in messages["Messages"]
        ]
        stack.sqs.delete_message_batch(QueueUrl=stack.queue_url, Entries=handles)
    assert aws.cpu_seconds - before < 1.0  # 26 s with moto's own bookkeeping
