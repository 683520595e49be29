"""A log group that exists already, and its retention."""

from collections.abc import Iterator

import pytest

from infra_scripts import log_group
from infra_scripts.clients import Clients
from infra_scripts.cloudformation import state
from infra_scripts.deployment import deploy, plan
from infra_scripts.destruction import destroy
from infra_scripts.stack import Place, Stack
from tests.support.aws import unique_stack
from tests.support.watched import actions, quiet


@pytest.fixture
def name(clients: Clients) -> Iterator[str]:
    """The name of a group that somebody has made."""
    wanted = unique_stack().log_group
    clients.logs.create_log_group(logGroupName=wanted)
    yield wanted
    clients.logs.delete_log_group(logGroupName=wanted)


def test_its_retention_is_set_and_repaired(clients: Clients, name: str) -> None:
    part = log_group.part(clients.logs, name, 30)
    for _ in range(2):
        change = part.compare()
        assert change.action == "update"
        part.write(change.before, change.after)
        assert part.compare().action == "unchanged"
        clients.logs.delete_retention_policy(logGroupName=name)


def test_a_longer_name_is_another_group(clients: Clients, name: str) -> None:
    """CloudWatch searches by prefix."""
    assert log_group.find(clients.logs, name[:-1]) is None
    assert log_group.find(clients.logs, name) is not None


def test_it_is_adopted_and_outlives_the_stack(clients: Clients, wanted: Stack, here: Place) -> None:
    clients.logs.create_log_group(logGroupName=wanted.log_group)
    deploy(clients, wanted, here, say=quiet)
    deployed = state.find(clients.cloudformation, wanted.name)
    assert deployed
    assert "LogGroup" not in deployed.resources
    group = log_group.find(clients.logs, wanted.log_group)
    assert group
    assert group["retentionInDays"] == 30
    assert actions(plan(clients, wanted, here)) == {"unchanged"}
    lines: list[str] = []
    destroy(clients, wanted, say=lines.append)
    assert f"kept      log group {wanted.log_group}, which is not part of the stack" in lines
    clients.logs.delete_log_group(logGroupName=wanted.log_group)
