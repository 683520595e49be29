"""The network of the instance in the template: a security group that lets nobody in."""

from infra_scripts.stack import Stack
from infra_scripts.template.resource import Resource, ref, resource


def parameters(stack: Stack) -> dict[str, Resource]:
    """``Vpc``, which has no default: a template cannot look up a VPC, and rules need to be in one."""
    where = (
        f"of {stack.instance.subnet}" if stack.instance.subnet else "that is the region's default"
    )
    return {
        "Vpc": {
            "Type": "AWS::EC2::VPC::Id",
            "Description": f"The VPC {where}; deploy looks it up.",
        }
    }


def resources() -> dict[str, Resource]:
    """The security group, in the VPC of the instance.

    The machine is reached through Session Manager, which it calls itself. Security groups do not filter
    what goes to Amazon's DNS and time servers, so those need no rules. The subnet must lead to the
    internet: the default VPC's do; another needs a NAT gateway, or to assign public addresses.
    """
    properties = {
        "GroupDescription": "Fruits: nothing may come in, HTTPS and HTTP may go out",
        "VpcId": ref("Vpc"),
        # An explicit empty list: a rule that somebody adds by hand is drift.
        "SecurityGroupIngress": [],
        "SecurityGroupEgress": [
            _out(443, "S3, SQS, CloudWatch, Session Manager, Python packages"),
            _out(80, "The package archive of Ubuntu, whose packages are signed"),
        ],
    }
    return {
        "SecurityGroup": resource(
            "AWS::EC2::SecurityGroup",
            "No inbound rule: a shell is opened through Session Manager, not SSH.",
            properties,
        )
    }


def _out(port: int, description: str) -> Resource:
    return {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "CidrIp": "0.0.0.0/0",
        "Description": description,
    }
