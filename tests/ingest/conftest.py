"""Fixtures of ingest's tests: inboxes on a queue of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ingest import queue
from ingest.queue import Inbox
from tests.support.aws import DeployedStack
from tests.support.traffic import Client, OpenInbox, stop_soon


@pytest.fixture
def open_inbox(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenInbox]:
    """Opens inboxes on the stack's queue; ``replaced`` names calls of its client to replace."""
    monkeypatch.setattr(queue, "LONG_POLL_SECONDS", 1)
    monkeypatch.setattr(queue, "LOADED_POLL_SECONDS", 0)
    monkeypatch.setattr(queue, "OUTAGE_PAUSE_SECONDS", 0.2)
    connect = queue.connect
    with ExitStack() as ending:

        def make(
            capacity: int = 1000,
            visibility: int = 60,
            receivers: int = 2,
            url: str = "",
            **replaced: Callable[..., Any],
        ) -> Inbox:
            monkeypatch.setattr(queue, "connect", lambda n: Client(connect(n), replaced))
            inbox = Inbox(
                url or stack.queue_url,
                capacity=capacity,
                visibility_timeout_seconds=visibility,
                receivers=receivers,
            )
            ending.callback(stop_soon, stack, inbox)
            return inbox

        yield make
