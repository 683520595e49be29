"""Patience: transient faults of AWS are waited out where they occur, because to end costs more.

A service that ends gives its messages back, each a receive poorer, and computes the micro-batch anew.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep,
    sleep_using_event,
    stop_after_delay,
    stop_any,
    stop_when_event_set,
    wait_random_exponential,
)
from urllib3.exceptions import HTTPError

from common import aws_errors
from processor.errors import Unavailable

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 300  # then a fresh process may do better
FIRST_WAIT_SECONDS = 1.0  # on average half of it; it doubles
LONGEST_WAIT_SECONDS = 30.0

T = TypeVar("T")


def patiently(call: Callable[[], T], stopping: threading.Event | None = None) -> T:
    """What ``call`` returns; repeated while it fails by a fault that may pass, for five minutes.

    It must be safe to repeat, whatever a failed try has done. Any other error is raised at once:
    refusals, bad credentials, a missing bucket. Once ``stopping`` is set, so is a fault that may pass;
    without it, the service that is to stop waits as long as for any micro-batch.
    """
    return Retrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
        stop=stop_any(
            stop_after_delay(PATIENCE_SECONDS), stop_when_event_set(stopping or threading.Event())
        ),
        sleep=sleep_using_event(stopping) if stopping else sleep,
        before_sleep=_note,
        reraise=True,
    )(call)


def is_transient(error: BaseException) -> bool:
    """Whether AWS was overloaded or not reached, or its response broke off."""
    return isinstance(error, (Unavailable, HTTPError)) or (
        isinstance(error, Exception) and aws_errors.is_transient(error)
    )


def _note(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0.0
    log.warning("AWS could not serve a request, trying again in %.1f s: %s", wait, error)
