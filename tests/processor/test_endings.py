"""Endings of the real service: by signals, by the death of a process of its own, by a standstill."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest

from infra_scripts.embedded import EmbeddedAws
from tests.support.drawn_photos import photo
from tests.support.roles import family
from tests.support.sites import Site, deployed
from tests.support.traffic import PATIENCE, until

pytestmark = pytest.mark.services

NEXT = "nothing is lost: start it again, and it continues where it stopped"


@pytest.fixture(scope="module")
def site(
    aws: EmbeddedAws, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with deployed(tmp_path_factory.mktemp("site"), cache_dir) as shared:
        yield shared


def log(site: Site) -> list[dict]:
    return [json.loads(line) for line in (site.folder / "log").read_text().splitlines()]


def started(site: Site, **settings: str) -> subprocess.Popen[str]:
    """The warden of a service that is idle: it ends once nothing is left of the service."""
    (site.folder / "log").write_text("")
    before = dict(site.settings)
    site.settings.update(settings)
    service = site.start("run", warden=True)
    site.settings = before
    site.wait(lambda: any(line["message"] == "service started" for line in log(site)))
    until(lambda: planner(service))
    return service


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def driver(service: subprocess.Popen[str]) -> psutil.Process:
    return until(lambda: psutil.Process(service.pid).children())[0]


def children(service: subprocess.Popen[str]) -> list[psutil.Process]:
    return list(filter(lives, psutil.Process(service.pid).children(True)))


def jvm(service: subprocess.Popen[str]) -> psutil.Process:
    (java,) = until(lambda: family(driver(service))["jvm"])
    return java


def planner(service: subprocess.Popen[str]) -> psutil.Process | None:
    """The process with the inbox, once it receives: it catches SIGTERM and SIGUSR1."""
    for each in children(service):
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            caught = signals(each.pid, "SigCgt")
            if each.name() != "java" and caught & 1 << 14 and caught & 1 << 9:
                return each
    return None


def ended(service: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = service.communicate(timeout=PATIENCE)
    return service.returncode, errors


def signals(pid: int, which: str) -> int:
    """The mask of the signals that the process catches (SigCgt) or holds back (SigBlk)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{which}:")[2].split()[0], 16)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("state", ["SigBlk", "SigCgt"])  # it imports its modules; it has done so
def test_a_signal_during_the_start_ends_it_with_status_0(
    site: Site, number: int, state: str
) -> None:
    service = site.start("run")
    until(lambda: signals(service.pid, state) & 1 << signal.SIGTERM - 1)
    service.send_signal(number)
    assert ended(service) == (0, "")


def test_a_signal_while_sparks_jvm_starts(site: Site) -> None:
    """A second one changes nothing."""
    service = site.start("run", warden=True)
    jvm(service)
    driver(service).send_signal(signal.SIGTERM)
    driver(service).send_signal(signal.SIGTERM)
    assert ended(service) == (0, "")


def test_other_commands_say_that_they_were_interrupted(site: Site) -> None:
    command = site.start("run", "--once")
    until(lambda: signals(command.pid, "SigBlk"))
    command.send_signal(signal.SIGTERM)
    assert ended(command) == (1, "error: interrupted\n")


def test_sparks_jvm_is_killed_and_what_it_left_is_swept(site: Site) -> None:
    """By the next start; then the process that reads the queue is killed."""
    service = started(site)
    java = jvm(service)
    left = set((site.folder / "work/spark").glob("*/*"))
    assert {each.name.partition("-")[0] for each in left} >= {"blockmgr", "spark", "artifacts"}
    java.kill()
    how = "Spark's JVM ended by SIGKILL (from the out-of-memory killer?)"
    assert ended(service) == (1, f"error: {how}: {NEXT}\n")
    assert (left := {each for each in left if each.exists()})

    service = started(site)
    assert not [each for each in left if each.exists()]
    reads = planner(service)
    assert reads
    reads.kill()
    how = "the process that reads the queue was killed (by the out-of-memory killer?)"
    assert ended(service) == (1, f"error: {how}: {NEXT}\n")


def test_photos_come_as_it_is_told_to_stop(site: Site) -> None:
    service = started(site)
    for number in range(5):
        site.put(f"late-{number}.jpg", photo(number))
    time.sleep(0.3)
    driver(service).send_signal(signal.SIGTERM)
    time.sleep(0.2)
    driver(service).send_signal(signal.SIGINT)
    assert ended(service) == (0, "")


def test_a_standstill_ends_it_with_all_stacks_in_the_log_and_messages_released(
    site: Site,
) -> None:
    settings = {"FRUITS_SERVICE__STALL_SECONDS": "15", "FRUITS_BATCH__MAX_SECONDS": "5"}
    site.settings["FRUITS_QUEUE__VISIBILITY_TIMEOUT_SECONDS"] = (
        "600"  # they would not return in time
    )
    service = started(site, **settings)
    site.put("first.jpg", photo(50))
    site.wait(lambda: "photos/first.jpg" in site.features())
    stopped = planner(service)
    assert stopped
    stopped.suspend()
    for number in range(5):
        site.put(f"stuck-{number}.jpg", photo(number))
    status, errors = ended(service)
    assert status == 1
    assert errors.startswith("error: no progress for 15 s, see the stacks in the log")
    assert len(errors.splitlines()) == 1
    messages = [line["message"] for line in log(site)]
    assert any("service/runner.py" in each and "_await" in each for each in messages)  # the driver
    assert any(
        "ingest/holding.py" in each and "in _renew" in each for each in messages
    )  # the planner
    assert any("Full thread dump" in each for each in messages)  # the JVM
    assert f"process {stopped.pid} (python) is stopped" in messages
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=site.bucket)["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert counts[names[1]] == "0"
