"""The writer: the ledger says what is in the bucket, and its repeated messages are events."""

import json

import pytest

from ingest.events import parse
from tests.soak import writer as module
from tests.soak.contents import by_digest, contents, digest
from tests.soak.writer import Writer, keys
from tests.support.aws import DeployedStack

STEPS = 150


@pytest.mark.parametrize("versioned", [False, True])
def test_the_ledger_is_the_bucket(
    stack: DeployedStack, versioned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if versioned:
        stack.s3.put_bucket_versioning(
            Bucket=stack.bucket, VersioningConfiguration={"Status": "Enabled"}
        )
    writer = Writer(
        *(stack.s3, stack.sqs, stack.bucket, stack.queue_url),
        versioned=versioned,
        seed=5,
        per_second=1,
    )
    writer._keys = keys()[:12]  # so that each is changed often
    monkeypatch.setattr(module, "LATER_SECONDS", (0.0, 0.1))
    for _ in range(STEPS):
        writer._change()
    expected = writer.ledger.expected()
    listed = stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix="photos/")["Contents"]
    assert {each["Key"] for each in listed} == set(expected)
    for key, content in expected.items():
        data = stack.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()
        assert by_digest()[digest(data)] == content
    kinds = {entry.what for key in writer.ledger.all_keys() for entry in writer.ledger.history(key)}
    assert kinds == {"put", "remove", "drop version"} if versioned else {"put", "remove"}
    assert writer.repeated
    bodies = [json.dumps(each) for each in stack.drain()]
    assert {event.key for body in bodies for event in parse(body)} <= writer.ledger.all_keys()
    alone = [key for key in writer.ledger.all_keys() if "left alone" in key]
    assert len(alone) > STEPS / 5
    if not versioned:
        assert max(len(writer.ledger.history(key)) for key in alone) <= 4  # a put, and A, B, A


def test_good_contents_and_poison_are_distinct() -> None:
    assert len(by_digest()) == len(contents())
    assert {each.good for each in contents()} == {True, False}
