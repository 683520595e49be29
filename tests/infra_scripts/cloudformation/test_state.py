"""What CloudFormation knows of a stack, and which states need somebody."""

import pytest

from infra_scripts.clients import Clients
from infra_scripts.cloudformation import change_sets, state
from infra_scripts.errors import StackError
from infra_scripts.stack import Stack
from tests.support.aws import DeployedStack
from tests.support.watched import instead, quiet

EMPTY = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'


def test_a_stack_and_its_resources(clients: Clients, stack: DeployedStack) -> None:
    found = state.find(clients.cloudformation, stack.stack.name)
    assert found
    assert found.status == "CREATE_COMPLETE"
    assert found.resources["Queue"].endswith(f"/{stack.stack.queue}")
    assert found.resources["Bucket"] == stack.bucket
    assert not found.is_changing
    assert not found.holds_nothing
    assert state.make_way(clients.cloudformation, found, quiet) == found
    state.check(found)


def test_a_plan_of_a_new_stack_leaves_nothing(clients: Clients, wanted: Stack) -> None:
    assert state.find(clients.cloudformation, wanted.name) is None
    planned = change_sets.create(clients.cloudformation, wanted.name, EMPTY, {}, is_new=True)
    found = state.find(clients.cloudformation, wanted.name)
    assert found
    assert found.holds_nothing
    assert not found.is_changing
    assert not found.was_never_made
    change_sets.discard(clients.cloudformation, planned)
    assert state.find(clients.cloudformation, wanted.name) is None


def test_what_an_interrupted_plan_left_makes_way(clients: Clients, wanted: Stack) -> None:
    change_sets.create(clients.cloudformation, wanted.name, EMPTY, {}, is_new=True)
    found = state.find(clients.cloudformation, wanted.name)
    lines: list[str] = []
    assert state.make_way(clients.cloudformation, found, lines.append) is None
    assert lines == []  # nothing of it was ever there
    assert state.find(clients.cloudformation, wanted.name) is None


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback --stack-name s"),
        ("DELETE_FAILED", "python -m infra_scripts destroy"),
    ],
)
def test_what_somebody_has_to_repair_is_named(status: str, cure: str) -> None:
    with pytest.raises(StackError, match=f"stack s is {status}.*{cure}"):
        state.check(state.Deployed("arn", "s", status, {}))


@pytest.mark.parametrize(
    ("status", "changing", "never_made"),
    [
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", True, False),
        ("ROLLBACK_IN_PROGRESS", True, False),
        ("UPDATE_ROLLBACK_COMPLETE", False, False),
        ("ROLLBACK_COMPLETE", False, True),
        ("ROLLBACK_FAILED", False, True),
    ],
)
def test_what_a_status_allows(status: str, changing: bool, never_made: bool) -> None:
    found = state.Deployed("arn", "s", status, {})
    assert (found.is_changing, found.was_never_made) == (changing, never_made)


def test_any_other_error_is_none_of_absence(clients: Clients, wanted: Stack) -> None:
    refused = instead(clients, "DescribeStacks", (400, "ValidationError"))
    with refused, pytest.raises(Exception, match="ValidationError"):
        state.find(clients.cloudformation, wanted.name)
