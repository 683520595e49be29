"""The status: the state of queue, store and matrix, at every stage."""

import json
import time
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from processor.errors import PreflightError
from processor.matrix import models
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.pipeline.comparison import Scope
from processor.pipeline.reconciliation import Reconciliation
from processor.service.status import QueueState, Status, status
from processor.store import delta, objects
from processor.store.schema import FEATURES
from tests.support.aws import DeployedStack
from tests.support.drawn_photos import photo
from tests.support.endpoints import NOBODY
from tests.support.in_process import InThisProcess
from tests.support.s3_answers import s3_answers
from tests.support.world import World

EMPTY: QueueState = {"visible": 0, "in_flight": 0, "dead_letters": 0, "oldest_seconds": 0}


def look(world: World, stack: DeployedStack) -> Status:
    names = stack.stack.queue, stack.stack.dead_letter_queue
    found = status(world.recipe.layout.store, *names)
    assert json.loads(json.dumps(found)) == found
    return found


def put(world: World, *numbers: int) -> None:
    world.handle(*(world.put(f"photos/{n}.jpg", photo(n)) for n in numbers))


def reduce(world: World) -> None:
    Matrix(world.recipe.layout.store, RefitPolicy(components=2), InThisProcess()).update()


def test_before_the_service_ever_ran(stack: DeployedStack) -> None:
    root = f"s3://{stack.bucket}/"
    names = stack.stack.queue, stack.stack.dead_letter_queue
    assert status(stack.stack.layout.store, *names) == {
        "photos": 0,
        "rejects": 0,
        "pending": {"photos": 0, "reasons": {}},
        "queue": EMPTY,
        "features": {"uri": f"{root}features", "version": None, "files": 0, "model": None},
        "reduced": {
            "uri": f"{root}reduced",
            "version": None,
            "rows": 0,
            "components": 0,
            "features_version": None,
            "explained_variance": None,
            "model": None,
        },
        "last_batch": None,
        "reconciliation": None,
    }


def test_features_rejects_and_the_last_micro_batch(world: World, stack: DeployedStack) -> None:
    before = look(world, stack)
    assert (before["photos"], before["last_batch"]) == (0, None)
    put(world, 1, 2, 3)
    world.handle(world.put("photos/bad.jpg", b"bad"), world.put("photos/4.jpg", photo(4)))
    found = look(world, stack)
    assert (found["photos"], found["rejects"]) == (4, 1)
    assert found["features"] == {
        "uri": f"s3://{world.bucket}/features",
        "version": 2,
        "files": 2,
        "model": world.recipe.network.model_id,
    }
    last = found["last_batch"]
    assert last
    assert (last["id"], last["photos"]) == (2, 1)
    age = datetime.now(UTC) - datetime.fromisoformat(last["at"])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_photos_that_wait_are_counted_by_reason(world: World, stack: DeployedStack) -> None:
    put(world, 1)
    with s3_answers(403, "AccessDenied", "no.jpg"):
        world.handle(*(world.put(f"photos/{n}no.jpg", photo(n)) for n in range(2)))
    with s3_answers(403, "InvalidObjectState", "cold.jpg"):
        world.handle(world.put("photos/cold.jpg", photo(3)))
    found = look(world, stack)
    assert found["pending"] == {"photos": 3, "reasons": {"forbidden": 2, "archived": 1}}
    assert (found["photos"], found["rejects"]) == (1, 0)


def test_commits_that_are_not_micro_batches_are_skipped(world: World, stack: DeployedStack) -> None:
    put(world, 1, 2)
    table = delta.open_table(f"s3://{world.bucket}/features")
    assert table
    for _ in range(3):  # as a compaction commits
        table.commit(FEATURES, [], [], data_change=False)
    found = look(world, stack)
    assert found["features"]["version"] == 4
    assert found["last_batch"]
    assert (found["last_batch"]["id"], found["last_batch"]["photos"]) == (1, 2)


def test_the_matrix_and_what_its_model_explains(world: World, stack: DeployedStack) -> None:
    put(world, *range(5))
    reduce(world)
    put(world, 5)
    found = look(world, stack)["reduced"]
    name = found["model"]
    assert name
    model = models.read(world.recipe.layout.store, name)
    assert model
    assert found == {
        "uri": f"s3://{world.bucket}/reduced",
        "version": 1,
        "rows": 5,
        "components": 2,
        "features_version": 1,  # not the newest
        "explained_variance": pytest.approx(model.pca.explained_variance_ratio_.sum()),
        "model": name,
    }
    objects.delete(world.recipe.layout.store.pca_model(name))
    assert look(world, stack)["reduced"] == found | {"explained_variance": None}


# The queue


def queue_with_messages(stack: DeployedStack) -> None:
    """One message is in flight, one is a dead letter, two wait, and one of these is delayed."""
    send, receive = stack.sqs.send_message, stack.sqs.receive_message
    send(QueueUrl=stack.queue_url, MessageBody="taken")
    assert receive(QueueUrl=stack.queue_url, VisibilityTimeout=60)["Messages"]
    send(QueueUrl=stack.queue_url, MessageBody="waits")
    send(QueueUrl=stack.queue_url, MessageBody="delayed", DelaySeconds=60)
    send(QueueUrl=stack.dead_letter_queue_url, MessageBody="dead")


def test_messages_are_counted_wherever_they_are(world: World, stack: DeployedStack) -> None:
    queue_with_messages(stack)
    assert look(world, stack)["queue"] == {
        "visible": 2,
        "in_flight": 1,
        "dead_letters": 1,
        "oldest_seconds": None,  # CloudWatch has no figure yet
    }


def test_the_age_of_the_oldest_is_cloudwatchs_newest_figure(
    world: World, stack: DeployedStack
) -> None:
    queue_with_messages(stack)
    now = datetime.now(UTC)
    boto3.client("cloudwatch").put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": name}],
                "Timestamp": now - timedelta(minutes=minutes),
                "Value": seconds,
            }
            for name, minutes, seconds in (
                (stack.stack.queue, 2, 77.0),
                (stack.stack.queue, 9, 500.0),
                (stack.stack.queue, 40, 900.0),
                ("another", 1, 800.0),
            )
        ],
    )
    assert look(world, stack)["queue"]["oldest_seconds"] == 77


def test_without_cloudwatch_the_age_is_unknown(
    world: World, stack: DeployedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", NOBODY)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # botocore's pauses between its attempts
    queue_with_messages(stack)
    assert look(world, stack)["queue"]["oldest_seconds"] is None


def test_a_missing_queue_is_named_with_its_setting(world: World, stack: DeployedStack) -> None:
    layout = world.recipe.layout.store
    with pytest.raises(PreflightError, match=r"'nobodys'.*correct queue\.name"):
        status(layout, "nobodys", stack.stack.dead_letter_queue)
    with pytest.raises(PreflightError, match=r"'nobodys'.*correct queue\.dead_letter_name"):
        status(layout, stack.stack.queue, "nobodys")


def test_the_last_reconciliation(world: World, stack: DeployedStack) -> None:
    world.put("photos/1.jpg", photo(1))
    layout = world.recipe.layout
    Reconciliation(layout, world.folder, lambda _: None).run(Scope(prefix="photos/"))
    found = look(world, stack)["reconciliation"]
    assert found is not None
    assert (found["finished"], found["objects"], found["differences"]["missing"]) == (True, 1, 1)
    assert found["began"] <= found["at"]
