"""CloudWatch Logs: it gets every line, and does no harm if it does not accept them."""

import json
import platform
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from infra_scripts.clients import Clients
from tests.support import scripts
from tests.support.aws import DeployedStack
from tests.support.endpoints import NOBODY, Denies, serving

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
logging.raiseExceptions = False  # or watchtower prints on stderr what is wrong with a call
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
        self.stream = f"{platform.node()}/{pid}"
        self.stdout = done.stdout.splitlines()

    def assert_all_on_stdout(self, count: int) -> None:
        lines = list(map(json.loads, self.stdout))
        assert [line["photos"] for line in lines[:-3]] == list(range(count))
        assert "%d % ('not a number',)" in lines[-3]["message"]
        assert lines[-2]["message"] == "of the client itself"
        assert lines[-1]["level"] == "ERROR"


def in_cloudwatch(clients: Clients, group: str, stream: str) -> list[str]:
    answer: Any = clients.logs.get_log_events(
        logGroupName=group, logStreamName=stream, startFromHead=True
    )
    return [each["message"] for each in answer["events"]]


def test_it_gets_every_line_but_those_of_its_own_client(stack: DeployedStack) -> None:
    ran = Ran(stack.stack.log_group, 20)
    ran.assert_all_on_stdout(20)
    sent = in_cloudwatch(stack.clients, stack.stack.log_group, ran.stream)
    # A call whose arguments do not fit is beyond watchtower.
    missing = ("of the client itself", "not a number")
    assert sent == [line for line in ran.stdout if not any(each in line for each in missing)]


def test_a_group_that_is_not_deployed_is_not_created(stack: DeployedStack) -> None:
    group = f"{stack.stack.log_group}-of-nobody"
    ran = Ran(group, 20)
    ran.assert_all_on_stdout(20)
    found = stack.clients.logs.describe_log_groups(logGroupNamePrefix=stack.stack.log_group)
    assert [each["logGroupName"] for each in found["logGroups"]] == [stack.stack.log_group]


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
    assert ran.logging_seconds < 2
    assert ran.seconds < 15  # of which flushing and closing take two
