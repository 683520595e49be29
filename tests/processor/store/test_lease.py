"""The lease: at most one holder at a time, none for ever, and none that is dead for long."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

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
def folder(place: str) -> str:
    return f"{place}/lease"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(module, "LOST_SECONDS", 1.0)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)


def test_one_holds_it_at_a_time_and_gives_it_back(folder: str) -> None:
    one, other = Lease(folder), Lease(folder)
    for first, second in ((one, other), (other, one), (other, one)):
        with first.held() as ours, second.held() as too:
            assert (ours, too) == (True, False)
    assert len(list(objects.listing(folder))) == 1  # the last one's, which says that it is free


def test_it_is_given_back_after_an_error(folder: str) -> None:
    with pytest.raises(KeyError), Lease(folder).held():
        raise KeyError
    with Lease(folder).held() as ours:
        assert ours


def test_of_many_at_once_one_has_it(folder: str) -> None:
    for _ in range(5):
        with ExitStack() as held, ThreadPoolExecutor(8) as pool:
            leases = [Lease(folder) for _ in range(8)]
            found = list(pool.map(lambda each: each._take(), leases))
            numbers = [number for number in found if number]
            assert len(numbers) == 1
            held.callback(leases[0]._write, numbers[0], module.RELEASED)


@pytest.mark.usefixtures("quick")
def test_a_holder_at_work_keeps_it_and_others_wait_for_its_end(folder: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        with Lease(folder).held():
            other = Lease(folder)

            def waits() -> float:
                with other.held(wait=True) as ours:
                    assert ours
                    return time.monotonic()

            waiting = pool.submit(waits)
            time.sleep(2 * module.LOST_SECONDS)
            assert not waiting.done()
            released = time.monotonic()
        assert waiting.result(10) >= released


@pytest.mark.usefixtures("quick")
def test_a_killed_holder_loses_it(bucket: str, aws: EmbeddedAws) -> None:
    folder = f"s3://{bucket}/models/refit"
    command = [sys.executable, "-c", HOLDER, folder]
    with subprocess.Popen(
        command, cwd=ROOT, env=aws.over(os.environ), stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "True\n"
        other = Lease(folder)
        with other.held() as ours:
            assert not ours
        holder.send_signal(signal.SIGKILL)
    began = time.monotonic()

    def taken() -> bool:
        with other.held() as ours:
            return ours

    until(taken)
    assert time.monotonic() - began > module.LOST_SECONDS / 2  # not before it must be dead


@pytest.mark.usefixtures("quick")
def test_one_who_was_stopped_does_not_take_it_from_the_next(folder: str) -> None:
    """It goes on beating into a number that nobody looks at any more."""
    stopped, next_one = Lease(folder), Lease(folder)
    number = stopped._take()
    assert number
    until(lambda: next_one._take())
    stopped._write(number, module.RELEASED)
    assert Lease(folder)._take() is None


def test_a_number_that_was_swept_is_not_taken_again(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one who looked before others came, went and swept."""
    late = Lease(folder)
    create = objects.create

    def create_late(uri: str, body: bytes) -> bool:
        monkeypatch.setattr(objects, "create", create)
        for _ in range(3):
            with Lease(folder).held() as ours:
                assert ours
        return create(uri, body)

    monkeypatch.setattr(objects, "create", create_late)
    assert late._take() is None
    assert [each.uri.rpartition("/")[2] for each in objects.listing(folder)] == ["0000000003"]


def test_whoever_made_it_holds_it_although_the_answer_was_lost(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then botocore asks again, and hears that the object exists."""
    create = objects.create
    monkeypatch.setattr(objects, "create", lambda *call: create(*call) and False)
    with Lease(folder).held() as ours:
        assert ours
