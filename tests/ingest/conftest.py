"""Fixtures of ingest's tests: inboxes on a queue of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ingest.inbox import SPARE_CONNECTIONS, Inbox
from ingest.queue import connect
from tests.support.aws import DeployedStack
from tests.support.traffic import Client, OpenInbox, stop_soon


@pytest.fixture
def open_inbox(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenInbox]:
    """Opens inboxes on the stack's queue; ``replaced`` names calls of its client to replace."""
    monkeypatch.setattr("ingest.inbox.LONG_POLL_SECONDS", 1)
    monkeypatch.setattr("ingest.inbox.LOADED_POLL_SECONDS", 0)
    monkeypatch.setattr("ingest.inbox.OUTAGE_PAUSE_SECONDS", 0.2)
    with ExitStack() as ending:

        def make(
            capacity: int = 1000,
            visibility: int = 60,
            receivers: int = 2,
            url: str = "",
            **replaced: Callable[..., Any],
        ) -> Inbox:
            inbox = Inbox(
                url or stack.queue_url,
                capacity=capacity,
                visibility_timeout_seconds=visibility,
                receivers=receivers,
                client=Client(connect(receivers + SPARE_CONNECTIONS), replaced),
            )
            ending.callback(stop_soon, stack, inbox)
            return inbox

        yield make
