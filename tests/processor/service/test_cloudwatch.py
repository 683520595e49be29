"""CloudWatch Logs: it gets every line, and does no harm if it accepts them late, in part or never."""

import json
import logging
import platform
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from common import logs
from infra_scripts.clients import Clients
from processor.service import cloudwatch
from tests.support import scripts
from tests.support.aws import DeployedStack
from tests.support.endpoints import NOBODY, Denies, Silent, aws_at, serving
from tests.support.traffic import until

LINES = 1000

# Logs, and prints on stderr how long that took and its process id.
SERVICE = """
import logging, os, sys, time
from common import logs
from processor.service import cloudwatch
cloudwatch.FLUSH_SECONDS = 1
logs.to_stdout("INFO")
cloudwatch.attach(GROUP)
began = time.monotonic()
for number in range(COUNT):
    logging.getLogger("ours").info("line %d", number, extra={"photos": number})
logging.getLogger("others").info("%d", "not a number")
logging.getLogger("botocore.hooks").warning("of the client itself")
logging.getLogger("ours").error("ü" * 300_000, exc_info=ValueError("why"))
print(time.monotonic() - began, os.getpid(), file=sys.stderr, flush=True)
"""


class Ran:
    """A finished process that logged to CloudWatch too."""

    def __init__(self, group: str, count: int, **environment: str) -> None:
        began = time.monotonic()
        options = f"GROUP, COUNT = {group!r}, {count}\n"
        done = scripts.run(SERVICE, options, PYTHONWARNINGS="ignore", **environment)
        done.check_returncode()
        self.seconds = time.monotonic() - began
        logging_seconds, pid = done.stderr.split()
        self.logging_seconds = float(logging_seconds)
        self.pid = pid
        self.stdout = done.stdout.splitlines()

    def assert_all_on_stdout(self, count: int) -> None:
        """All lines, and at the end those about CloudWatch itself."""
        lines = list(map(json.loads, self.stdout))
        self.about = [each for each in lines if each["logger"] == cloudwatch.__name__]
        lines = [each for each in lines if each not in self.about]
        assert [line["photos"] for line in lines[:-3]] == list(range(count))
        assert "%d % ('not a number',)" in lines[-3]["message"]
        assert lines[-2]["message"] == "of the client itself"
        assert lines[-1]["level"] == "ERROR"


def in_cloudwatch(clients: Clients, group: str, pid: str) -> list[str]:
    (stream,) = clients.logs.describe_log_streams(logGroupName=group)["logStreams"]
    name = stream["logStreamName"]
    node = re.escape(platform.node())
    assert re.fullmatch(rf"{node}/\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\dZ/{pid}", name)
    answer: Any = clients.logs.get_log_events(
        logGroupName=group, logStreamName=name, startFromHead=True
    )
    return [each["message"] for each in answer["events"]]


def test_it_gets_every_line_but_those_of_its_own_client(stack: DeployedStack) -> None:
    ran = Ran(stack.stack.log_group, 20)
    ran.assert_all_on_stdout(20)
    sent = in_cloudwatch(stack.clients, stack.stack.log_group, ran.pid)
    assert sent == [line for line in ran.stdout if "of the client itself" not in line]
    assert ran.about == []


def test_a_group_that_is_not_deployed_is_not_created(stack: DeployedStack) -> None:
    group = f"{stack.stack.log_group}-of-nobody"
    ran = Ran(group, 20)
    ran.assert_all_on_stdout(20)
    found = stack.clients.logs.describe_log_groups(logGroupNamePrefix=stack.stack.log_group)
    assert [each["logGroupName"] for each in found["logGroups"]] == [stack.stack.log_group]
    (told,) = ran.about
    assert told["lines"] == 22
    assert "log lines did not reach CloudWatch" in told["message"]
    assert "ResourceNotFound" in told["message"]


@contextmanager
def silent() -> Iterator[str]:
    """An endpoint that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def closed() -> Iterator[str]:
    yield NOBODY


@contextmanager
def denying() -> Iterator[str]:
    with serving(Denies) as url:
        yield url


@pytest.mark.parametrize("endpoint", [silent, closed, denying])
def test_if_it_accepts_nothing_logging_goes_on_and_the_process_ends(aws: object, endpoint) -> None:
    with endpoint() as url:
        ran = Ran("/nobodys", LINES, AWS_ENDPOINT_URL=url)
    ran.assert_all_on_stdout(LINES)
    assert ran.logging_seconds < 10
    assert ran.seconds < 30  # of which closing takes one
    assert ran.about[-1]["lines"] >= LINES + 2
    assert "log lines did not reach CloudWatch" in ran.about[-1]["message"]


# In this process, with a CloudWatch that answers as the test wants


class Service:
    """CloudWatch Logs: ``answers`` are to the next PutLogEvents; from then on it takes all lines."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []  # __type and what belongs to it, or an answer
        self.always: dict[str, Any] | None = None
        self.seconds = 0.0
        self.has_stream = False
        self.lines: list[str] = []
        self.requests: list[dict[str, Any]] = []

    def respond(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.seconds)
        if operation == "CreateLogStream":
            self.has_stream = True
            return {}
        self.requests.append(request)
        if not self.has_stream:
            return {"__type": "ResourceNotFoundException", "message": "no stream"}
        answer = self.always or (self.answers.pop(0) if self.answers else {})
        if "__type" not in answer:
            self.lines += [each["message"] for each in request["logEvents"]]
        return answer

    def messages(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.lines]


class Journal(logging.Handler):
    """Stands in for stdout."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def about(self) -> list[str]:
        return [each.getMessage() for each in self.records if each.name == cloudwatch.__name__]


class Attached:
    def __init__(self, service: Service) -> None:
        self.service, self.journal = service, Journal()
        logging.getLogger().addHandler(self.journal)
        cloudwatch.attach("/group")
        self.handler = logging.getLogger().handlers[-1]
        self.log = logging.getLogger("ours")

    def close(self) -> float:
        """As logging.shutdown() does; how long it takes."""
        began = time.monotonic()
        self.handler.flush()
        self.handler.close()
        return time.monotonic() - began


@pytest.fixture
def attached(aws: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attached]:
    service = Service()

    class Answers(Silent):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            answer = service.respond(operation, body)
            status = 400 if "__type" in answer else 200
            headers = {"Content-Type": "application/x-amz-json-1.1"}
            self.send(status, headers, json.dumps(answer).encode())

    for name, value in {
        "SEND_SECONDS": 0.05,
        "FIRST_WAIT_SECONDS": 0.02,
        "LONGEST_WAIT_SECONDS": 0.05,
        "FLUSH_SECONDS": 1.0,
        "READ_SECONDS": 2,
    }.items():
        monkeypatch.setattr(cloudwatch, name, value)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.setLevel("INFO")
    with serving(Answers) as url, aws_at(url):
        made = Attached(service)
        yield made
        made.close()
    logs.FOLDING.flush()  # or the next test's lines would repeat these
    root.handlers[:] = handlers
    root.setLevel(level)


FAULTS = {
    "throttling": {"__type": "ThrottlingException", "message": "slow down"},
    "expired": {"__type": "ExpiredTokenException", "message": "expired"},
    "group": {"__type": "ResourceNotFoundException", "message": "no such group"},
    "away": {"__type": "ServiceUnavailableException", "message": "away"},
    "token": {"__type": "InvalidSequenceTokenException", "expectedSequenceToken": "7"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_batch_is_sent_again_until_it_is_taken(attached: Attached, fault: str) -> None:
    """Many more times than watchtower's five; nothing is lost, and the journal says what was wrong."""
    service = attached.service
    service.always = FAULTS[fault]
    attached.log.info("while it refuses")
    until(lambda: len(service.requests) > 8)
    attached.log.info("then")
    service.always = None
    until(lambda: "then" in service.messages())
    until(lambda: len(attached.journal.about()) == 2)
    first, last = attached.journal.about()
    assert first.startswith("CloudWatch takes no log lines; up to 50000 wait here: ")
    assert last == "CloudWatch takes log lines again; none was lost"
    attached.close()
    assert [each for each in service.messages() if "CloudWatch" not in each] == [
        "while it refuses",
        "then",
    ]
    if fault == "token":
        assert service.requests[-2].get("sequenceToken") in ("7", None)


def test_lines_that_it_has_already_are_not_sent_again(attached: Attached) -> None:
    attached.service.has_stream = True
    attached.service.answers = [{"__type": "DataAlreadyAcceptedException", "message": "again"}]
    attached.log.info("one")
    until(lambda: attached.service.requests)
    attached.log.info("two")
    until(lambda: attached.service.messages() == ["two"])
    attached.close()
    assert attached.journal.about() == []


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        ({"__type": "InvalidParameterException", "message": "bad line"}, 3),
        ({"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 2}}, 2),
        ({"rejectedLogEventsInfo": {"tooNewLogEventStartIndex": 2}}, 1),
    ],
)
def test_what_it_will_never_take_is_counted_and_said(
    attached: Attached, answer: dict[str, Any], lost: int
) -> None:
    attached.service.has_stream = True
    attached.service.seconds = 0.2
    attached.log.info("before")
    until(lambda: attached.service.requests)
    for number in range(3):
        attached.log.info("line %d", number)
    attached.service.answers = [answer]
    attached.service.seconds = 0
    until(lambda: attached.service.answers == [])
    attached.log.info("after")
    until(lambda: "after" in attached.service.messages())
    until(lambda: any("did not reach" in each for each in attached.journal.about()))
    (said,) = (each for each in attached.journal.records if hasattr(each, "lines"))
    assert said.lines in (lost, 3, 1)  # the lines may have gone in two requests
    assert said.getMessage().startswith(f"{said.lines} log lines did not reach CloudWatch: ")


def test_too_many_lines_are_lost_there_and_counted(
    attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudwatch, "MOST_LINES", 10)
    attached.service.always = FAULTS["away"]
    attached.log.info("first")
    until(lambda: attached.journal.about())
    began = time.monotonic()
    for number in range(500):
        attached.log.info("line %d", number)
    assert time.monotonic() - began < 10
    attached.service.always = None
    until(lambda: any("did not reach" in each for each in attached.journal.about()))
    (said,) = (each for each in attached.journal.records if hasattr(each, "lines"))
    assert 480 < said.lines <= 500
    until(lambda: any("did not reach" in each for each in attached.service.messages()))


def test_too_many_bytes_are_lost_there_too(
    attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudwatch, "MOST_BYTES", 100_000)
    attached.service.always = FAULTS["away"]
    for _ in range(10):
        attached.log.info("x" * 40_000)
    attached.service.always = None
    until(lambda: any("did not reach" in each for each in attached.journal.about()))
    (said,) = (each for each in attached.journal.records if hasattr(each, "lines"))
    assert said.lines == 8


def refuses(service: Service) -> None:
    service.always = FAULTS["expired"]


def is_slow(service: Service) -> None:
    service.seconds = 3


@pytest.mark.parametrize("trouble", [refuses, is_slow])
def test_the_end_waits_for_no_longer_than_it_may(
    attached: Attached, trouble: Callable[[Service], None]
) -> None:
    trouble(attached.service)
    for number in range(100):
        attached.log.info("line %d", number)
    time.sleep(0.2)  # a request is under way
    ending = threading.Thread(target=attached.log.info, args=("of another thread",))
    ending.start()
    assert attached.close() < 10
    ending.join(10)
    assert not ending.is_alive()
    last = attached.journal.records[-1]
    assert 101 <= last.lines <= 102
    assert last.getMessage().startswith(f"{last.lines} log lines did not reach CloudWatch: ")
    assert attached.handler not in logging.getLogger().handlers
    attached.handler.close()  # once more does nothing
    assert attached.journal.records[-1] is last


def test_lines_are_taken_whatever_holds_the_lock_and_after_a_fork(attached: Attached) -> None:
    """As logging.shutdown() does; Python 3.13's logging, and a fork, need that there is one."""
    assert attached.handler.lock
    with attached.handler.lock:
        other = threading.Thread(target=attached.log.info, args=("of another thread",), daemon=True)
        other.start()
        other.join(5)
        assert not other.is_alive()
    attached.handler._at_fork_reinit()
    attached.close()
    assert attached.service.messages() == ["of another thread"]


def test_the_last_lines_are_sent_at_the_end(
    attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudwatch, "FLUSH_SECONDS", 60.0)  # a busy machine takes more than one
    for number in range(2000):
        attached.log.info("line %d", number)
    assert attached.close() < 30
    assert attached.service.messages() == [f"line {number}" for number in range(2000)]
    assert attached.journal.about() == []


def test_lines_of_a_day_and_more_go_in_several_requests(attached: Attached) -> None:
    attached.service.always = FAULTS["away"]
    now = time.time()
    for hours in (0, 20, 30, 60):
        record = attached.log.makeRecord("ours", logging.INFO, "", 0, "%d h", (hours,), None)
        record.created = now + 3600 * hours
        attached.log.handle(record)
    until(lambda: len(attached.service.requests) > 3)
    attached.service.requests.clear()
    attached.service.always = None
    until(lambda: "60 h" in attached.service.messages())
    for request in attached.service.requests:
        times = [each["timestamp"] for each in request["logEvents"]]
        assert times == sorted(times)
        assert times[-1] - times[0] < 24 * 3600 * 1000
