"""Ends: whether a service ended because of what the soak did to it."""

import re

from tests.soak.faults import MARK
from tests.soak.services import Run

# What a client says of a connection that was reset, of silence, of half a body.
_NO_ANSWER = re.compile(
    "Connection was closed|Could not connect|[Tt]imed? ?out|Connection reset|Connection aborted|"
    "error sending request|response body error|IncompleteRead|Response ended|"
    "EndpointConnectionError|Error performing [A-Z]+ "
)
FAILED = 1
LATE = "did not connect within 10 s"


def explained(run: Run) -> bool:
    """Whether an end follows from a kill, or from credentials that expired.

    SIGSTOP must end nothing, except that Spark gives a Python process that it starts ten seconds by the
    clock. SIGTERM must end with status 0, and nothing else may.
    """
    if "stop" in run.blows and run.status == FAILED and LATE in run.line:
        return True
    blows = set(run.blows) - {"stop"}
    if blows <= {"sigterm"}:
        early = run.status == -15
        return bool(blows) and (run.status == 0 or early)
    if blows & {"tree", "driver", "stop and kill"}:
        return True
    if "sigterm" in blows and run.status == 0:
        return True
    return run.status == FAILED


def by_fault(run: Run) -> bool:
    """Whether a service gave up because of faults that it met, by its last words."""
    return run.status == FAILED and bool(MARK in run.line or _NO_ANSWER.search(run.line))
