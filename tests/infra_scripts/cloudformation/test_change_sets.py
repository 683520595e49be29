"""Change sets: described for the operator, and recognised where there is nothing to change."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra_scripts.cloudformation import change_sets
from infra_scripts.errors import StackError

TEMPLATE = "{}"


class Scripted:
    """CloudFormation that answers a change set as AWS does, and notes what is requested."""

    def __init__(self, *answers: dict[str, Any], refusals: tuple[str, ...] = ()) -> None:
        self.answers = list(answers)
        self.refusals = list(refusals)
        self.requests: list[dict[str, Any]] = []
        self.deleted: list[str] = []

    def create_change_set(self, **request: Any) -> dict[str, str]:
        self.requests.append(request)
        if self.refusals:
            error = {"Error": {"Code": "ValidationError", "Message": self.refusals.pop(0)}}
            raise ClientError(error, "CreateChangeSet")
        return {"Id": "change-set", "StackId": "stack"}

    def describe_change_set(self, **_: Any) -> dict[str, Any]:
        return self.answers.pop(0)

    def delete_change_set(self, StackName: str, ChangeSetName: str) -> None:
        self.deleted.append(ChangeSetName)


def created(client: Any, *, is_new: bool = False) -> change_sets.ChangeSet:
    return change_sets.create(client, "fruits-q", TEMPLATE, {"Vpc": "vpc-1"}, is_new=is_new)


def change(action: str, logical: str, kind: str, **members: Any) -> dict[str, Any]:
    named = {"Action": action, "LogicalResourceId": logical, "ResourceType": kind}
    return {"Type": "Resource", "ResourceChange": named | members}


def test_what_would_change_is_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_sets, "POLL_SECONDS", 0)
    detail = {
        "Target": {
            "Attribute": "Properties",
            "Name": "VisibilityTimeout",
            "Path": "/Properties/VisibilityTimeout",
            "BeforeValue": "60",
            "AfterValue": "90",
        }
    }
    unknown = {"Target": {"Attribute": "Properties", "Name": "LaunchTemplate"}}
    url = "https://sqs.eu-west-1.amazonaws.com/1/q"
    changes = [
        change("Add", "Alarm", "AWS::CloudWatch::Alarm"),
        change("Modify", "Queue", "AWS::SQS::Queue", PhysicalResourceId=url, Details=[detail]),
        change(
            *("Modify", "Instance", "AWS::EC2::Instance"),
            **{"PhysicalResourceId": "i-1", "Replacement": "True", "Details": [unknown]},
        ),
        change(
            *("Modify", "Role", "AWS::IAM::Role"),
            **{"Replacement": "Conditional", "ResourceDriftStatus": "MODIFIED"},
        ),
    ]
    last = change("Remove", "Bucket", "AWS::S3::Bucket", PolicyAction="Retain")
    done = {"Status": "CREATE_COMPLETE", "DeploymentMode": "REVERT_DRIFT"}
    client = Scripted(
        {"Status": "CREATE_IN_PROGRESS"},
        done | {"Changes": changes, "NextToken": "more"},
        done | {"Changes": [last]},
    )
    found = created(client)
    assert [each.describe() for each in found.changes] == [
        "create    Alarm (AWS::CloudWatch::Alarm)",
        "update    Queue (AWS::SQS::Queue) q\n"
        '          /Properties/VisibilityTimeout: "60" -> "90"',
        "replace   Instance (AWS::EC2::Instance) i-1\n"
        '          LaunchTemplate: none -> "computed while it is deployed"',
        "update    Role (AWS::IAM::Role)\n          may be replaced by another; was changed by hand",
        "delete    Bucket (AWS::S3::Bucket)\n          the one that exists is kept",
    ]
    assert found.sees_drift
    assert change_sets.notes(found) == []
    [request] = client.requests
    assert request["ChangeSetType"] == "UPDATE"
    assert request["DeploymentMode"] == "REVERT_DRIFT"
    assert request["Parameters"] == [{"ParameterKey": "Vpc", "ParameterValue": "vpc-1"}]


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information to create "
        "a change set.",
        "No updates are to be performed.",
        "There are no changes to deploy",
    ],
)
def test_nothing_to_change_is_no_failure(reason: str) -> None:
    client = Scripted({"Status": "FAILED", "StatusReason": reason})
    assert created(client).changes == ()
    assert client.deleted == ["change-set"]
    assert created(Scripted(refusals=("No updates are to be performed.",))).changes == ()


def test_a_refused_template_is_an_error_with_the_reason() -> None:
    client = Scripted({"Status": "FAILED", "StatusReason": "Unresolved resource\ndependencies"})
    with pytest.raises(StackError, match="stack fruits-q: Unresolved resource dependencies"):
        created(client)
    assert client.deleted == ["change-set"]
    with pytest.raises(ClientError, match="no such parameter"):
        created(Scripted(refusals=("no such parameter",)))


def test_where_drift_is_not_known_the_operator_is_told() -> None:
    done = {"Status": "CREATE_COMPLETE", "Changes": []}
    client = Scripted(done, refusals=("Unknown parameter: DeploymentMode",))
    found = created(client)
    assert ["DeploymentMode" in each for each in client.requests] == [True, False]
    [note] = change_sets.notes(found)
    assert "does not look for what was changed by hand" in note
    ignored = created(Scripted(done))  # accepted, and not heeded
    assert change_sets.notes(ignored) == [note]


def test_a_new_stack_has_no_drift() -> None:
    client = Scripted({"Status": "CREATE_COMPLETE", "Changes": []})
    found = created(client, is_new=True)
    assert "DeploymentMode" not in client.requests[0]
    assert change_sets.notes(found) == []
