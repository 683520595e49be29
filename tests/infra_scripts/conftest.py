"""Fixtures of the tests of the stack."""

from collections.abc import Iterator

import pytest

from infra_scripts.clients import Clients
from infra_scripts.destruction import destroy
from infra_scripts.stack import Place, Stack
from tests.support.aws import unique_stack
from tests.support.watched import quiet


@pytest.fixture
def here(clients: Clients) -> Place:
    """The account and region of the embedded AWS."""
    return clients.place()


@pytest.fixture
def wanted(clients: Clients) -> Iterator[Stack]:
    """A stack that is not deployed yet; whatever exists of it afterwards is deleted."""
    stack = unique_stack()
    yield stack
    destroy(clients, stack, say=quiet, delete_data=True)
