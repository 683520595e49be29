"""The role in the template: EC2 alone may take it, and it may do what the service and a shell need."""

from infra_scripts import policies
from infra_scripts.template.resource import ANYWHERE
from infra_scripts.template.role import resources
from tests.support.aws import unique_stack

STACK = unique_stack()


def test_ec2_alone_may_take_the_role() -> None:
    trust = resources(STACK, ANYWHERE)["Role"]["Properties"]["AssumeRolePolicyDocument"]
    [statement] = trust["Statement"]
    assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"


def test_the_role_may_do_what_the_service_needs_and_open_a_shell() -> None:
    properties = resources(STACK, ANYWHERE)["Role"]["Properties"]
    assert "ManagedPolicyArns" not in properties
    service, shell = properties["Policies"]
    assert service["PolicyDocument"] == policies.service_role(STACK, ANYWHERE)
    [statement] = shell["PolicyDocument"]["Statement"]
    assert {action.partition(":")[0] for action in statement["Action"]} == {"ssm", "ssmmessages"}
    assert not [action for action in statement["Action"] if "*" in action or "Get" in action]


def test_a_release_can_be_read_but_not_written() -> None:
    service = resources(STACK, ANYWHERE)["Role"]["Properties"]["Policies"][0]["PolicyDocument"]
    release = f"arn:${{AWS::Partition}}:s3:::{STACK.bucket}/releases/*"
    allowed = [each["Action"] for each in service["Statement"] if release in each["Resource"]]
    assert allowed == [["s3:GetObject"]]


def test_the_instance_profile_carries_the_role() -> None:
    profile = resources(STACK, ANYWHERE)["InstanceProfile"]["Properties"]
    assert profile == {"Roles": [{"Ref": "Role"}]}
