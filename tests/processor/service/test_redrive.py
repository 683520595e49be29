"""Redrive: dead letters by cause, moved or left; and that a redrive which is killed loses none."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest

from ingest.dead_letters import Cause
from ingest.events import message
from ingest.queue import REQUEST_BYTES, Queue
from processor.errors import PreflightError
from processor.service import redrive
from processor.service.redrive import Redrive, unfinished
from tests.support.aws import DeployedStack
from tests.support.endpoints import Request
from tests.support.forwarded import Refusal, forwarding
from tests.support.object_events import event
from tests.support.sites import ROOT
from tests.support.traffic import TEST_EVENT, Client, counts, refusal, until

HOSTILE_KEY = "photos/\x1b[2J\u202egpj.exe\n\ud83c.jpg".encode("utf-8", "replace").decode()


def valid(stack: DeployedStack, key: str = "photos/a.jpg") -> str:
    return message([event(key, bucket=stack.bucket)])


def kill_letters(stack: DeployedStack, *bodies: str) -> None:
    for body in bodies:
        stack.sqs.send_message(QueueUrl=stack.dead_letter_queue_url, MessageBody=body)


def one_of_each(stack: DeployedStack) -> dict[Cause, list[str]]:
    return {
        Cause.VALID: [valid(stack), valid(stack, HOSTILE_KEY)],
        Cause.FOREIGN: [
            message([event("photos/a.jpg", bucket="another")]),
            valid(stack, "elsewhere/a.jpg"),
        ],
        Cause.MALFORMED: ["not JSON \x1b]0;title\x07 \u202e", '{"Records": [{}]}', "{}"],
        Cause.NO_EVENTS: [TEST_EVENT],
    }


def bodies(stack: DeployedStack, url: str) -> Counter[str]:
    """All visible messages, which are then in flight for a minute."""
    found: Counter[str] = Counter()
    while some := stack.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60, WaitTimeSeconds=0
    ).get("Messages"):
        found.update(each["Body"] for each in some)
    return found


def started(stack: DeployedStack, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "processor", "redrive", *arguments],
        cwd=ROOT,
        env={**os.environ, **stack.settings, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(stack: DeployedStack, *arguments: str, **settings: str) -> tuple[int, str, str]:
    process = started(stack, *arguments, **settings)
    out, errors = process.communicate(timeout=120)
    return process.returncode, out, errors


def opened(stack: DeployedStack, client: Any = None, visibility: int = 60) -> Redrive:
    client = client or stack.sqs
    return Redrive(
        Queue(client, stack.queue_url),
        Queue(client, stack.dead_letter_queue_url),
        lambda each: stack.stack.layout.contains(each.bucket, each.key),
        visibility_timeout_seconds=visibility,
    )


def test_it_shows_all_and_moves_what_can_be_processed(stack: DeployedStack) -> None:
    letters = one_of_each(stack)
    kill_letters(stack, *(body for some in letters.values() for body in some))
    status, out, errors = command(stack, "--dry-run")
    assert (status, errors) == (0, "")
    assert counts(stack, stack.dead_letter_queue_url) == (8, 0)
    assert counts(stack) == (0, 0)

    status, out, errors = command(stack)
    assert (status, errors) == (0, "")
    table, _, result = out.partition("moved: 2\n")
    assert [line for line in table.splitlines() if "count" in line] == [
        f"    count: {len(some)}" for some in letters.values()
    ]
    assert "body is not JSON: " in table
    assert "'s3://another/photos/a.jpg' is not one of the objects" in table
    assert "moving: the service processes it" in table
    for cause in (Cause.FOREIGN, Cause.MALFORMED, Cause.NO_EVENTS):
        assert result.count(f"cause {cause.value};") == len(letters[cause])
    assert all(line.isprintable() for line in out.splitlines())
    assert counts(stack, stack.dead_letter_queue_url) == (6, 0)
    assert bodies(stack, stack.queue_url) == Counter(letters[Cause.VALID])


@pytest.mark.parametrize("cause", [*Cause, "all"])
def test_one_kind_or_all(stack: DeployedStack, cause: str) -> None:
    letters = one_of_each(stack)
    kill_letters(stack, *(body for some in letters.values() for body in some))
    with opened(stack) as held:
        shown = held.read()
        done = held.move(list(Cause) if cause == "all" else [Cause(cause)])
    assert {name: group["count"] for name, group in shown["causes"].items()} == {
        each.value: len(some) for each, some in letters.items()
    }
    wanted = [body for each, some in letters.items() for body in some if cause in (each, "all")]
    assert bodies(stack, stack.queue_url) == Counter(wanted)
    assert bodies(stack, stack.dead_letter_queue_url).total() == 8 - len(wanted)
    assert (done["moved"], len(done["left"])) == (len(wanted), 8 - len(wanted))
    assert all(each["reason"] for each in done["left"])
    assert unfinished(shown, done) is None


def test_json_is_one_object_that_names_all_that_is_left(stack: DeployedStack) -> None:
    kill_letters(stack, valid(stack, HOSTILE_KEY), *["bad \x1b"] * 30)
    status, out, errors = command(stack, "--json")
    assert status == 0
    (line,) = out.splitlines()
    found = json.loads(line)
    assert (found["read"], found["moved"], len(found["left"])) == (31, 1, 30)
    assert found["causes"]["valid"]["object"] == f"s3://{stack.bucket}/{HOSTILE_KEY}"
    assert set(found["left"][0]) == {"cause", "message_id", "object", "reason"}
    assert "malformed:" in errors  # the table, before anything is moved
    assert all(each.isprintable() for each in errors.splitlines())


def test_an_empty_queue_is_no_error(stack: DeployedStack) -> None:
    with opened(stack) as held:
        shown = held.read()
        done = held.move(list(Cause))
    assert shown == {"read": 0, "in_flight": 0, "more": 0, "causes": {}}
    assert done == {"moved": 0, "left": [], "fault": None}
    assert unfinished(shown, done) is None


def test_a_queue_that_is_absent_or_forbidden_is_one_line(stack: DeployedStack) -> None:
    status, _, errors = command(stack, FRUITS_QUEUE__DEAD_LETTER_NAME="none-such")
    assert status == 1
    assert "no queue 'none-such'" in errors
    assert "queue.dead_letter_name" in errors
    assert len(errors.splitlines()) == 1

    def deny(**request: Any) -> None:
        raise refusal("AccessDenied")

    kill_letters(stack, valid(stack))
    with (
        opened(stack, Client(stack.sqs, {"receive_message": deny})) as held,
        pytest.raises(PreflightError, match=f"{stack.dead_letter_queue_url}.*no permission"),
    ):
        held.read()


def test_those_that_another_holds_are_counted_not_shown(stack: DeployedStack) -> None:
    kill_letters(stack, valid(stack), valid(stack, "photos/b.jpg"))
    stack.sqs.receive_message(QueueUrl=stack.dead_letter_queue_url, VisibilityTimeout=60)
    status, out, errors = command(stack)
    assert status == 1  # it may be one of those that were asked for
    assert "read: 1\nin_flight: 1\n" in out
    assert errors == (
        "error: 1 are in flight, held by another redrive, or by one that was killed: run it again in a "
        "minute\n"
    )
    assert counts(stack) == (1, 0)


@pytest.mark.parametrize("limit", ["MOST_MESSAGES", "MOST_BYTES"])
def test_memory_is_bounded_and_what_is_left_is_said(
    stack: DeployedStack, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(redrive, limit, 15)
    kill_letters(stack, *(valid(stack, f"photos/{n}.jpg") for n in range(25)))
    taken = 20 if limit == "MOST_MESSAGES" else 10
    with opened(stack) as held:
        shown = held.read()
        done = held.move([Cause.VALID])
    assert (shown["read"], shown["more"], done["moved"]) == (taken, 25 - taken, taken)
    assert f"about {25 - taken} more are left" in str(unfinished(shown, done))


def test_what_is_in_hand_stays_there_until_the_end(stack: DeployedStack) -> None:
    kill_letters(stack, "{}", valid(stack))
    with opened(stack, visibility=2) as held:
        held.read()
        time.sleep(3)
        assert bodies(stack, stack.dead_letter_queue_url).total() == 0
    assert counts(stack, stack.dead_letter_queue_url) == (2, 0)


def test_what_cannot_be_sent_or_deleted_stays_and_is_said(stack: DeployedStack) -> None:
    kill_letters(stack, *(valid(stack, f"photos/{n}.jpg") for n in range(5)))

    def deny(**request: Any) -> None:
        raise refusal("AccessDenied")

    def refuse_one(**request: Any) -> dict[str, Any]:
        return {"Failed": [{"Id": "0", "Code": "InvalidMessageContents", "SenderFault": True}]}

    for replaced, words in [
        ({"send_message_batch": deny}, "no permission"),
        ({"send_message_batch": refuse_one}, "SQS did not take a message: InvalidMessageContents"),
        ({"delete_message_batch": deny}, "5 were sent, but cannot be deleted"),
    ]:
        with opened(stack, Client(stack.sqs, replaced)) as held:
            shown = held.read()
            done = held.move([Cause.VALID])
        assert (done["moved"], len(done["left"])) == (0, 5)
        assert words in str(unfinished(shown, done))
        assert counts(stack, stack.dead_letter_queue_url) == (5, 0)


def test_large_messages_are_sent_within_the_limit_of_a_request(stack: DeployedStack) -> None:
    large = [json.dumps({"Records": [], "padding": "x" * 90_000, "n": n}) for n in range(4)]
    kill_letters(stack, *large)
    sent: list[int] = []

    def send(**request: Any) -> Any:
        sent.append(sum(len(each["MessageBody"]) for each in request["Entries"]))
        return stack.sqs.send_message_batch(**request)

    with opened(stack, Client(stack.sqs, {"send_message_batch": send})) as held:
        held.read()
        assert held.move([Cause.NO_EVENTS])["moved"] == 4
    assert len(sent) == 2
    assert max(sent) <= REQUEST_BYTES


@pytest.mark.parametrize("operation", ["SendMessageBatch", "DeleteMessageBatch"])
def test_killed_in_the_middle_it_loses_none(stack: DeployedStack, operation: str) -> None:
    """At the second such request, which SQS does not get any more."""
    all_of_them = {valid(stack, f"photos/{n}.jpg") for n in range(25)}
    kill_letters(stack, *all_of_them)
    ready = threading.Event()
    running: list[subprocess.Popen[str]] = []
    asked: list[str] = []

    def kill(request: Request) -> Refusal | None:
        asked.append(str(request.headers["X-Amz-Target"]).rpartition(".")[2])
        if asked.count(operation) == 2 and asked[-1] == operation:
            ready.wait(60)
            running[0].send_signal(signal.SIGKILL)
            return 500, "InternalError"
        return None

    with forwarding(kill) as (url, _):
        settings = {"AWS_ENDPOINT_URL": url, "FRUITS_QUEUE__VISIBILITY_TIMEOUT_SECONDS": "2"}
        running.append(started(stack, **settings))
        ready.set()
        running[0].communicate(timeout=120)
    assert running[0].returncode == -signal.SIGKILL
    until(lambda: counts(stack, stack.dead_letter_queue_url)[1] == 0)
    moved, left = counts(stack)[0], counts(stack, stack.dead_letter_queue_url)[0]
    assert 25 <= moved + left <= 35
    assert 0 < moved < 25

    with opened(stack) as held:
        assert unfinished(held.read(), held.move([Cause.VALID])) is None
    assert counts(stack, stack.dead_letter_queue_url) == (0, 0)
    assert bodies(stack, stack.queue_url).keys() == all_of_them
