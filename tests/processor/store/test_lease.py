"""The lease: at most one holder at a time, none for ever, and none that is dead for long."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from common import aws
from infra_scripts.embedded import EmbeddedAws
from processor.store import lease as module
from processor.store import objects
from processor.store.lease import Lease
from tests.support.traffic import until

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys, time
from processor.store.lease import Lease
with Lease(sys.argv[1]).held() as ours:
    print(ours, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def uri(bucket: str) -> str:
    return f"s3://{bucket}/features/_leases/refit"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(module, "LOST_SECONDS", 2.0)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)


def test_one_holds_it_at_a_time_and_nothing_is_left(uri: str) -> None:
    one, other = Lease(uri), Lease(uri)
    for first, second in ((one, other), (other, one), (other, one)):
        with first.held() as ours, second.held() as too:
            assert (ours, too) == (True, False)
        assert objects.get(uri) is None


def test_it_is_given_back_after_an_error(uri: str) -> None:
    def fails() -> None:
        with Lease(uri).held():
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert objects.get(uri) is None


def test_of_many_at_once_one_has_it(uri: str) -> None:
    at_once = threading.Barrier(8)

    def takes(_: int) -> bool:
        with Lease(uri).held() as ours:
            at_once.wait()
        return ours

    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(takes, range(8))).count(True) == 1


@pytest.mark.usefixtures("quick")
def test_of_many_at_once_one_has_it_after_a_dead_one(uri: str) -> None:
    objects.put(uri, b"of a dead one")
    at_once = threading.Barrier(8)
    leases = [Lease(uri) for _ in range(8)]

    def takes(lease: Lease) -> bool:
        with lease.held() as ours:
            at_once.wait()
        return ours

    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(takes, leases))
        time.sleep(module.LOST_SECONDS)
        assert list(pool.map(takes, leases)).count(True) == 1


@pytest.mark.usefixtures("quick")
def test_a_holder_at_work_keeps_it_and_others_wait_for_its_end(uri: str) -> None:
    def waits() -> float:
        with Lease(uri).held(wait=True) as ours:
            assert ours
            return time.monotonic()

    with ThreadPoolExecutor(1) as pool:
        with Lease(uri).held():
            waiting = pool.submit(waits)
            time.sleep(1.5 * module.LOST_SECONDS)
            assert not waiting.done()
            released = time.monotonic()
        assert waiting.result(10) >= released


@pytest.mark.usefixtures("quick")
def test_a_killed_holder_loses_it(uri: str, aws: EmbeddedAws) -> None:
    command = [sys.executable, "-c", HOLDER, uri]
    with subprocess.Popen(
        command, cwd=ROOT, env=aws.over(os.environ), stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "True\n"
        holder.send_signal(signal.SIGKILL)
    other = Lease(uri)
    began = time.monotonic()

    def taken() -> bool:
        with other.held() as ours:
            return ours

    until(taken)
    assert time.monotonic() - began >= module.LOST_SECONDS  # not before it must be dead


@pytest.mark.usefixtures("quick")
def test_one_who_was_stopped_does_not_take_it_from_the_next(uri: str) -> None:
    """It neither replaces nor deletes what is another's now."""
    with Lease(uri).held() as ours:
        assert ours
        objects.put(uri, b"of the next one")
        time.sleep(0.5)
    assert objects.get(uri) == b"of the next one"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("lost", [1, 2])
def test_whoever_made_it_holds_it_although_the_answer_was_lost(
    uri: str, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Then botocore asks again, and hears that the object exists, or is another by now."""
    replace, calls = objects.replace, []

    def loses_an_answer(*call: Any) -> str | None:
        calls.append(call)
        tag = replace(*call)
        return None if len(calls) == lost else tag

    monkeypatch.setattr(objects, "replace", loses_an_answer)
    with Lease(uri).held() as ours:
        assert ours
        until(lambda: len(calls) > 3)
        body = objects.get(uri)
    assert body != b""
    assert objects.get(uri) is None


def test_an_s3_without_conditions_gives_it_to_all(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: Callable[..., Any] = aws.s3().put_object

    def unconditional(*, IfMatch: str = "", IfNoneMatch: str = "", **request: Any) -> Any:
        return put(**request)

    monkeypatch.setattr(aws.s3(), "put_object", unconditional)
    with Lease(uri).held() as ours, Lease(uri).held() as too:
        assert (ours, too) == (True, True)


def test_of_a_local_store_it_is_ours(tmp_path: Path) -> None:
    with Lease(f"{tmp_path}/lease").held() as ours:
        assert ours
