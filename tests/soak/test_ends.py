"""Ends: only what the soak did explains one."""

import pytest

from tests.soak.ends import by_fault, explained
from tests.soak.services import Run


def run(status: int, *blows: str, line: str = "") -> Run:
    return Run("alpha", "alpha-1", blows=list(blows), status=status, line=line)


@pytest.mark.parametrize(
    ("status", "blows"),
    [
        (-9, ["tree"]),
        (-9, ["driver"]),
        (-9, ["stop and kill"]),
        (1, ["jvm"]),
        (1, ["planner"]),
        (1, ["worker"]),
        (1, ["work dir"]),
        (1, ["expired token"]),
        (0, ["sigterm"]),
        (-15, ["sigterm"]),
        (0, ["worker", "sigterm"]),
        (1, ["stop", "jvm"]),
    ],
)
def test_explained(status: int, blows: list[str]) -> None:
    assert explained(run(status, *blows))


@pytest.mark.parametrize(
    ("status", "blows"),
    [
        (1, []),
        (0, []),
        (-9, []),
        (-11, ["jvm"]),
        (1, ["stop"]),
        (-9, ["stop"]),
        (1, ["sigterm"]),
        (0, ["jvm"]),
        (-6, ["work dir"]),
    ],
)
def test_unexplained(status: int, blows: list[str]) -> None:
    assert not explained(run(status, *blows))


def test_a_service_that_gave_up_over_faults_says_so() -> None:
    assert by_fault(run(1, line="error: PutObject failed: SlowDown: injected by the soak"))
    assert by_fault(run(1, line="error: Connection was closed before we received a response"))
    assert not by_fault(run(1, line="error: KeyError: 'version'"))
    assert not by_fault(run(0, line="injected by the soak"))


def test_a_process_that_was_stopped_may_start_too_slowly() -> None:
    line = "error: a Python process that Spark started did not connect within 10 s (killed, or"
    assert explained(run(1, "stop", line=line))
    assert not explained(run(1, line=line))
