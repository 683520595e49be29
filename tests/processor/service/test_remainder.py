"""The remainder: the last line of ``run --once``. As a process: test_commands."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from processor.network.spec import NetworkSpec
from processor.service import remainder
from tests.support.aws import DeployedStack
from tests.support.drawn_photos import photo
from tests.support.s3_answers import s3_answers
from tests.support.world import World


@pytest.fixture
def world(stack: DeployedStack, spec: NetworkSpec, tmp_path: Path) -> World:
    return World(stack.bucket, spec, tmp_path)


def reported(
    world: World, queue: str, caplog: pytest.LogCaptureFixture
) -> tuple[logging.LogRecord, str]:
    caplog.clear()
    caplog.set_level(logging.INFO, "processor.service.remainder")
    remainder.report(world.recipe.layout.store, queue)
    (line,) = (each for each in caplog.records if each.name == "processor.service.remainder")
    return line, line.getMessage()


def test_nothing_is_left(
    world: World, stack: DeployedStack, caplog: pytest.LogCaptureFixture
) -> None:
    line, text = reported(world, stack.stack.dead_letter_queue, caplog)
    assert (line.levelname, text) == ("INFO", "drained; no photo waits, no dead letters")
    assert (line.__dict__["pending"], line.__dict__["dead_letters"]) == (0, 0)


def test_what_waits_and_what_is_dead_is_named_with_what_to_do(
    world: World, stack: DeployedStack, caplog: pytest.LogCaptureFixture
) -> None:
    events = [world.put(f"photos/{n}.no", photo(n)) for n in range(5)]
    world.handle(*(world.put(f"photos/{n}.jpg", photo(n)) for n in range(3)))
    with s3_answers(403, "AccessDenied", ".no"):
        world.handle(*events)
    world.s3.put_object(
        Bucket=stack.bucket, Key="photos/cold.jpg", Body=b"", StorageClass="GLACIER"
    )
    world.handle(world.event("photos/cold.jpg", "ObjectCreated:Put", "e", 1))
    stack.sqs.send_message(QueueUrl=stack.dead_letter_queue_url, MessageBody="{}")

    line, text = reported(world, stack.stack.dead_letter_queue, caplog)
    assert line.levelname == "WARNING"
    assert (line.__dict__["pending"], line.__dict__["dead_letters"]) == (6, 1)
    assert "6 photos wait (5 forbidden, 1 archived): 'photos/" in text
    assert text.count("'photos/") == remainder.SHOWN_KEYS
    assert ", …;" in text
    first = min(row["retry_at"] for row in world.pending().values())
    assert f"the first after {first.isoformat(timespec='seconds')}" in text
    assert first.utcoffset() == timedelta(0)
    assert "`python -m processor why KEY`" in text
    assert "1 dead letters: `python -m processor redrive --dry-run` shows why" in text


def test_dead_letters_that_cannot_be_counted_are_no_failure(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    line, text = reported(world, "none-such", caplog)
    assert line.__dict__["dead_letters"] is None
    assert "dead letters cannot be counted: there is no queue 'none-such'" in text
