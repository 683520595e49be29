"""The source's process: how it ends by SIGTERM, and after the death of its parent."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import psutil

from infra_scripts.embedded import EmbeddedAws
from ingest.source import FIRST_EVENTS
from tests.support.aws import DeployedStack
from tests.support.traffic import counts, receive, send, until

ROOT = Path(__file__).resolve().parents[2]
HOLDING = """
import os, signal, sys, time
from pyspark.sql.streaming.datasource import ReadMaxFiles
from ingest.source import S3SqsStreamReader
reader = S3SqsStreamReader({"queueUrl": sys.argv[1]})
reader.latestOffset({"messages": 0}, ReadMaxFiles(3))
while len(reader._inbox._holding._held) < 15:
    time.sleep(0.02)
with reader._inbox._changed:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
time.sleep(600)
"""


def started(says: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of Python that has said so."""
    process = subprocess.Popen(
        [sys.executable, "-c", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == f"{says}\n"
    return process


def test_sigterm_while_a_lock_is_held(aws: EmbeddedAws, stack: DeployedStack) -> None:
    send(stack, *(f"k{n}" for n in range(15)))
    ended = subprocess.run(
        [sys.executable, "-c", HOLDING, stack.queue_url], cwd=ROOT, timeout=60, check=False
    )
    assert ended.returncode == 0
    assert counts(stack) == (15, 0)


RESTARTED = """
import sys, time
from ingest.source import S3SqsStreamReader
options = {"queueUrl": sys.argv[1], "maxFilesPerTrigger": 2048, "maxSecondsPerTrigger": 20}
reader = S3SqsStreamReader({name: str(value) for name, value in options.items()})
reader.latestOffset({"messages": 0}, reader.getDefaultReadLimit())
time.sleep(0.5)
print("received", flush=True)
time.sleep(600)
"""


def test_restarts_make_no_dead_letters(aws: EmbeddedAws, stack: DeployedStack) -> None:
    """Each costs what was held one receive, and only the next micro-batch is held beside this one."""
    send(stack, *(f"k{n}" for n in range(60)))
    for _ in range(2):
        with started("received", RESTARTED, stack.queue_url) as process:
            held = counts(stack)[1]
            for _ in range(2):  # as Spark does
                process.terminate()
        assert process.returncode == 0
        assert held == 2 * FIRST_EVENTS
    received = []
    while found := receive(stack, 0):
        received += [int(each["Attributes"]["ApproximateReceiveCount"]) for each in found]
    assert len(received) == 60
    assert max(received) == 3  # this one included


WAITING = """
import sys
from pyspark.sql.streaming.datasource import ReadMaxFiles
from ingest.source import S3SqsStreamReader
reader = S3SqsStreamReader({"queueUrl": sys.argv[1]})
reader.prepareForTriggerAvailableNow()
print("waiting", flush=True)
reader.latestOffset({"messages": 0}, ReadMaxFiles(3))
print("returned", flush=True)
sys.stdout.close()
reader.stop()
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


def test_available_now_does_not_outlive_a_killed_parent(
    aws: EmbeddedAws, stack: DeployedStack
) -> None:
    send(stack, "a")
    assert receive(stack, 5, hidden=600)  # so that there is something to wait for
    with started("waiting", PARENT, WAITING, stack.queue_url) as parent:
        (child,) = psutil.Process(parent.pid).children()
        try:
            time.sleep(2)
            assert child.is_running()
            parent.kill()
            until(lambda: parent.stdout and parent.stdout.readline() == "returned\n", seconds=20)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
