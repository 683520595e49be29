"""The role of the machine that the service runs on, and the instance profile that carries it."""

from infra_scripts import policies
from infra_scripts.stack import Place, Stack
from infra_scripts.template.resource import Resource, ref, resource


def resources(stack: Stack, place: Place) -> dict[str, Resource]:
    """The role and its instance profile, for any EC2 instance, whether this stack makes it or not.

    Neither has a name of its own, so a deployment may replace them, and two stacks never collide.
    """
    return {
        "Role": resource(
            "AWS::IAM::Role",
            "What the service may do, and what Session Manager needs to open a shell.",
            {
                "AssumeRolePolicyDocument": {
                    "Version": policies.VERSION,
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "ec2.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                },
                "Policies": [
                    {
                        "PolicyName": "service",
                        "PolicyDocument": policies.service_role(stack, place),
                    },
                    {"PolicyName": "session-manager", "PolicyDocument": policies.session_manager()},
                ],
            },
            accepted={
                "CKV_AWS_111": "Session Manager's actions have no resources, CloudWatch's metrics have "
                "no ARNs; every other statement names its resources"
            },
        ),
        "InstanceProfile": resource(
            "AWS::IAM::InstanceProfile",
            "Gives the role to an EC2 instance.",
            {"Roles": [ref("Role")]},
        ),
    }
