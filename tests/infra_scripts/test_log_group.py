"""The log group and its retention."""

from collections.abc import Iterator

import pytest

from infra_scripts import log_group
from infra_scripts.clients import Clients
from tests.support.aws import unique_stack


@pytest.fixture
def name(clients: Clients) -> Iterator[str]:
    """A name that no group has yet."""
    wanted = unique_stack().log_group
    yield wanted
    for each in (wanted, f"{wanted}-longer"):
        log_group.delete(clients.logs, each)


def test_the_group_is_created_and_its_retention_repaired(clients: Clients, name: str) -> None:
    part = log_group.part(clients.logs, name, 30)
    assert part.compare().action == "create"
    part.write(None, {"retention_days": 30})
    assert part.compare().action == "unchanged"
    clients.logs.delete_retention_policy(logGroupName=name)
    assert part.compare().action == "update"
    part.write({"retention_days": None}, {"retention_days": 30})
    assert part.compare().action == "unchanged"


def test_a_longer_name_is_another_group(clients: Clients, name: str) -> None:
    """CloudWatch searches by prefix."""
    clients.logs.create_log_group(logGroupName=f"{name}-longer")
    assert log_group.find(clients.logs, name) is None
    assert log_group.delete(clients.logs, name) is False
    assert log_group.find(clients.logs, f"{name}-longer") is not None


def test_deleting_may_be_repeated(clients: Clients, name: str) -> None:
    clients.logs.create_log_group(logGroupName=name)
    assert log_group.delete(clients.logs, name) is True
    assert log_group.delete(clients.logs, name) is False
