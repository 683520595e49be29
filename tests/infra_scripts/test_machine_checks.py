"""What is looked up of the instance before anything is changed."""

import dataclasses
from contextlib import closing
from typing import Any

import pytest

from common import aws
from infra_scripts import machine_checks
from infra_scripts.clients import Clients
from infra_scripts.errors import StackError
from infra_scripts.stack import Instance, Place, Stack
from tests.support.aws import unique_stack


def machine(**settings: Any) -> Stack:
    return unique_stack(instance=Instance(**{"type": "c7i.xlarge"} | settings))


def test_the_vpc_is_the_default_or_that_of_the_subnet(clients: Clients, here: Place) -> None:
    with closing(aws.client("ec2")) as ec2:
        [default] = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        made = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", AvailabilityZone="eu-west-1a")
        subnet = made["Subnet"]["SubnetId"]
        assert machine_checks.vpc_of(machine(), here) == default["VpcId"]
        assert machine_checks.vpc_of(machine(subnet=subnet), here) == vpc
        ec2.delete_subnet(SubnetId=subnet)
        ec2.delete_vpc(VpcId=vpc)
    with pytest.raises(StackError, match=f"no subnet {subnet}.*instance.subnet"):
        machine_checks.vpc_of(machine(subnet=subnet), here)


def test_a_type_that_ec2_does_not_offer_is_named(clients: Clients, here: Place) -> None:
    with pytest.raises(StackError, match=r"no c99\.xlarge in eu-west-1.*instance.type"):
        machine_checks.vpc_of(machine(type="c99.xlarge"), here)


def test_weights_that_only_this_machine_has_are_named(clients: Clients, here: Place) -> None:
    for weights in ("/data/vgg16.h5", "imagenet.npz", "random_forest.h5"):
        with pytest.raises(StackError, match=f"{weights!r} is a file of this machine"):
            machine_checks.vpc_of(dataclasses.replace(machine(), weights=weights), here)
    for weights in ("imagenet", "random", "random:3", "s3://b/k#sha256=00"):
        assert machine_checks.vpc_of(dataclasses.replace(machine(), weights=weights), here)


def test_a_burstable_type_is_warned_of() -> None:
    assert "0.9 of its 4 vCPUs" in machine_checks.warning(machine(type="t2.xlarge"))
    assert machine_checks.warning(machine()) == ""
    assert machine_checks.warning(unique_stack()) == ""
