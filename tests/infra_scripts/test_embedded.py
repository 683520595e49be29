"""The embedded AWS: it serves many at once and keeps the word of S3 and SQS."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from infra_scripts.embedded import EmbeddedAws
from tests.support.aws import DeployedStack

KEYS = [
    "a b.jpg",
    "a+b.jpg",
    "100%.jpg",
    "a%20b%2Fc.jpg",
    "c:d;e,f=g&h.jpg",
    "what?.jpg",
    "#1.jpg",
    'it\'s "so".jpg',
    "äpfel/🍎.jpg",
    "a//b.jpg",
    "/lead.jpg",
    "./x/../y.jpg",
    " blank .jpg",
    "back\\slash.jpg",
    "x*y~(1)!.jpg",
    "tab\tnew\nline.jpg",
    "k" * 1017,  # with the prefix 1,024 bytes, the longest
]


def test_any_key_arrives_decoded(stack: DeployedStack) -> None:
    for name in KEYS:
        key = f"photos/{name}"
        stack.put(key, b"photo")
        listed = stack.s3.list_objects_v2(Bucket=stack.bucket)["Contents"]
        body = stack.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()
        stack.s3.delete_object(Bucket=stack.bucket, Key=key)
        assert [entry["Key"] for entry in listed] == [key]
        assert body == b"photo"
        assert stack.events() == [("ObjectCreated:Put", key), ("ObjectRemoved:Delete", key)]


def test_listings_are_pages_of_what_is_asked_for(stack: DeployedStack) -> None:
    names = [f"log/{number:02}" for number in range(7)]
    for name in ["lo", *names, "log/sub/x", "logs"]:
        stack.put(name)
    stack.put("log/gone")
    stack.s3.delete_object(Bucket=stack.bucket, Key="log/gone")

    def listed(**asked: str | int) -> list[str]:
        pages = stack.s3.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket, **asked)
        return [
            found
            for page in pages
            for found in (
                *(each["Key"] for each in page.get("Contents", [])),
                *(each["Prefix"] for each in page.get("CommonPrefixes", [])),
            )
        ]

    every = ["lo", *names, "log/sub/x", "logs"]
    few = {"PaginationConfig": {"PageSize": 2}}
    assert listed() == listed(**few) == every
    assert listed(Prefix="log/", **few) == every[1:-1]
    assert listed(Prefix="log/", StartAfter=names[4], **few) == [*names[5:], "log/sub/x"]
    assert listed(StartAfter="log/05a") == [names[6], "log/sub/x", "logs"]
    assert listed(Prefix="log/", StartAfter="log/sub/x") == []
    assert listed(Prefix="log/", Delimiter="/") == [*names, "log/sub/"]
    assert listed(Prefix="log/", Delimiter="/", StartAfter="log/05") == [names[6], "log/sub/"]
    assert listed(Prefix="none/") == []


def test_sequencers_rise(stack: DeployedStack) -> None:
    for _ in range(3):
        stack.put("photos/a.jpg")
        stack.s3.delete_object(Bucket=stack.bucket, Key="photos/a.jpg")
    records = [body["Records"][0] for body in stack.drain()]
    sequencers = [record["s3"]["object"]["sequencer"] for record in records]
    assert len(set(sequencers)) == 6
    assert sequencers == sorted(sequencers)


def test_versioned_objects_tell_of_markers_and_versions(stack: DeployedStack) -> None:
    stack.s3.put_bucket_versioning(
        Bucket=stack.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    where = {"Bucket": stack.bucket, "Key": "photos/a.jpg"}
    first = stack.s3.put_object(**where, Body=b"1")["VersionId"]
    second = stack.s3.put_object(**where, Body=b"2")["VersionId"]
    marker = stack.s3.delete_object(**where)["VersionId"]
    stack.s3.delete_object(**where, VersionId=first)
    records = [body["Records"][0] for body in stack.drain()]
    told = [(record["eventName"], record["s3"]["object"]["versionId"]) for record in records]
    assert told == [
        ("ObjectCreated:Put", first),
        ("ObjectCreated:Put", second),
        ("ObjectRemoved:DeleteMarkerCreated", marker),
        ("ObjectRemoved:Delete", first),
    ]


def test_one_of_many_conditional_puts_wins(stack: DeployedStack) -> None:
    def put(attempt: int) -> str:
        key = f"log/{attempt % 20}"
        try:
            stack.s3.put_object(Bucket=stack.bucket, Key=key, Body=b"x", IfNoneMatch="*")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "won"

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(put, range(160)))
    assert outcomes == {"won": 20, "PreconditionFailed": 140}


def test_conditional_get(stack: DeployedStack) -> None:
    etag = stack.put("photos/a.jpg")
    with pytest.raises(ClientError) as raised:
        stack.s3.get_object(Bucket=stack.bucket, Key="photos/a.jpg", IfNoneMatch=etag)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 304


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
