"""Supervision: a service that ends is started again, and what it leaves behind is found."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.soak import kills, services
from tests.soak.services import Supervised

RUNS_ON = "import signal; signal.pause()"
ENDS = "import sys; sys.exit('error: first\\nerror: the last line')"
LEAVES_A_CHILD = (
    "import signal, subprocess, sys;"
    f"subprocess.Popen([sys.executable, '-c', {RUNS_ON!r}]); signal.pause()"
)


class Ports:
    """In place of a proxy."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    def open(self, _: str) -> str:
        return "http://127.0.0.1:9"

    def close(self, name: str) -> None:
        self.closed.append(name)


@contextmanager
def supervised(folder: Path, script: str) -> Iterator[Supervised]:
    service = Supervised("alpha", folder, {}, Ports(), [sys.executable, "-c", script])
    service.start()
    try:
        yield service
    finally:
        service.stop(10)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_is_started_again_and_its_last_line_kept(tmp_path: Path) -> None:
    with supervised(tmp_path, ENDS) as service:
        until(lambda: len(service.ends) >= 2)
    first, second = service.ends[:2]
    assert (first.status, first.line) == (1, "error: the last line")
    assert first.name != second.name
    assert service.orphans == []


@pytest.mark.parametrize(("kill", "left"), [(kills.driver, 1), (kills.tree, 0)])
def test_what_survives_its_driver_is_an_orphan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: Callable, left: int
) -> None:
    monkeypatch.setattr(services, "ORPHAN_SECONDS", 0.5)
    with supervised(tmp_path, LEAVES_A_CHILD) as service:
        until(lambda: len(service.family()) == 2)
        _, child = service.family()
        assert kill(service)
        until(lambda: service.ends)
        until(lambda: len(service.family()) == 2)  # the next run's
        kills.tree(service)
    assert service.ends[0].status == -9
    assert len(service.orphans) == left
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_what_is_not_there_is_not_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, RUNS_ON) as service:
        until(service.family)
        kinds = (kills.jvm, kills.planner, kills.worker, kills.work_dir)
        assert [kill(service) for kill in kinds] == [False] * 4
        assert kills.sigterm(service)
        until(lambda: service.ends)
    assert service.ends[0].status == -15
