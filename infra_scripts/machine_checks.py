"""What EC2 says about the instance that is to be made, before anything is changed."""

from contextlib import closing
from typing import Any

from botocore.exceptions import ClientError

from common import aws, aws_errors
from infra_scripts import machines
from infra_scripts.errors import StackError
from infra_scripts.stack import Place, Stack


def vpc_of(stack: Stack, place: Place) -> str:
    """The VPC that the instance will be in.

    Raises :class:`StackError` where there is none, where EC2 does not offer the instance's type there,
    or where the instance could not read the network's weights; and botocore's errors.
    """
    weights = stack.weights
    known = weights in ("", "imagenet", "random") or weights.startswith(("s3://", "random:"))
    if not known:
        raise StackError(
            f"model.weights {weights!r} is a file of this machine, which the instance does not have: "
            "put it into a bucket and set model.weights to s3://bucket/key#sha256=HEX"
        )
    with closing(aws.client("ec2")) as ec2:
        if stack.instance.subnet:
            vpc, zone = _subnet(ec2, stack.instance.subnet)
            _check_type(ec2, stack.instance.type, zone, "availability-zone")
        else:
            vpc = _default_vpc(ec2, place)
            _check_type(ec2, stack.instance.type, place.region, "region")
        return vpc


def warning(stack: Stack) -> str:
    """What the operator should know of the type of the instance; empty where there is nothing."""
    return machines.credit_warning(stack.instance.type, stack.instance.cpu_credits)


def _subnet(ec2: Any, name: str) -> tuple[str, str]:
    """Its VPC and its availability zone."""
    try:
        found = ec2.describe_subnets(SubnetIds=[name])["Subnets"][0]
    except ClientError as error:
        if not aws_errors.code_of(error).startswith("InvalidSubnetI"):
            raise
        raise StackError(
            f"there is no subnet {name} in this region: correct instance.subnet"
        ) from error
    return found["VpcId"], found["AvailabilityZone"]


def _default_vpc(ec2: Any, place: Place) -> str:
    found = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not found:
        raise StackError(
            f"the account has no default VPC in {place.region}: set instance.subnet to a subnet that "
            "leads to the internet"
        )
    return str(found[0]["VpcId"])


def _check_type(ec2: Any, kind: str, location: str, location_type: str) -> None:
    found = ec2.describe_instance_type_offerings(
        LocationType=location_type,
        Filters=[
            {"Name": "instance-type", "Values": [kind]},
            {"Name": "location", "Values": [location]},
        ],
    )
    if not found["InstanceTypeOfferings"]:
        raise StackError(
            f"EC2 offers no {kind} in {location}: choose another instance.type, or another subnet"
        )
