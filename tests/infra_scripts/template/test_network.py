"""The security group in the template: nobody gets in, and little gets out."""

import re

from infra_scripts.template.network import parameters, resources
from tests.support.templates import SUBNET, stack_on

# What EC2 allows in the descriptions of groups and rules.
ALLOWED = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}")


def test_nothing_comes_in_and_only_web_traffic_goes_out() -> None:
    properties = resources()["SecurityGroup"]["Properties"]
    assert properties["SecurityGroupIngress"] == []
    ports = [(rule["FromPort"], rule["ToPort"]) for rule in properties["SecurityGroupEgress"]]
    assert ports == [(443, 443), (80, 80)]
    assert properties["VpcId"] == {"Ref": "Vpc"}


def test_ec2_accepts_the_descriptions() -> None:
    properties = resources()["SecurityGroup"]["Properties"]
    rules = properties["SecurityGroupEgress"]
    for text in [properties["GroupDescription"], *(rule["Description"] for rule in rules)]:
        assert ALLOWED.fullmatch(text), text


def test_the_vpc_is_that_of_the_subnet_or_the_default() -> None:
    given = parameters(stack_on("t2.xlarge", subnet=SUBNET))["Vpc"]
    assert given["Type"] == "AWS::EC2::VPC::Id"
    assert SUBNET in given["Description"]
    assert "default" in parameters(stack_on("t2.xlarge"))["Vpc"]["Description"]
