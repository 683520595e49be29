"""The instance in the template: its launch template, and how CloudFormation knows that it works.

An instance is never changed, it is replaced: by another release, other settings, another ``[instance]``.
CloudFormation starts the new one, waits until it has installed itself and the service is ready, and only
then ends the old one; if that fails, the new one goes and the old one has worked on. For some minutes
two services share the queue and the store, which is safe, and the account pays for two machines.

The image is Ubuntu 24.04 LTS, with standard support until 2029; that of 18.04, of which the first plan
spoke, ended in 2023. EC2 looks up the image in Canonical's public parameter when it launches an
instance. As a parameter of the template CloudFormation would look it up at each update, and replace the
instance whenever Canonical has published an image, which is every few weeks. Here a new image alone
changes nothing: security updates come by unattended-upgrades, a new image comes with the next release.

The default type is the t2.xlarge of the first plan, which earns 0.9 of its 4 vCPUs: right for an inbox
that fills now and then. For sustained load choose a type without credits: c7i or c7a (AVX-512), or
Graviton's c7g, whose images are for arm64.
"""

import hashlib
import json

from infra_scripts import machines
from infra_scripts.release import Release
from infra_scripts.stack import Stack
from infra_scripts.template import user_data
from infra_scripts.template.resource import Resource, attribute, ref, resource

INSTALL_SECONDS = 900  # it takes up to 5 minutes; this is when CloudFormation gives up
IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{}/hvm/ebs-gp3/ami-id"
ROOT_DEVICE = "/dev/sda1"  # the root volume of Ubuntu's images


def resources(stack: Stack, release: Release) -> dict[str, Resource]:
    """The launch template, the instance, and the condition that waits until it has installed itself."""
    template = _template(stack, release)
    return {
        template: resource(
            "AWS::EC2::LaunchTemplate",
            "The machine: IMDSv2 only, an encrypted volume, Ubuntu 24.04 LTS as of its launch.",
            {"LaunchTemplateData": _launch(stack, release)},
        ),
        "Instance": resource(
            "AWS::EC2::Instance",
            "Runs the service. Replaced, not changed, by whatever differs in the launch template.",
            _instance(stack, template),
            after=["LogGroup", "Queue"],
        ),
        _handle(stack, release): resource(
            "AWS::CloudFormation::WaitConditionHandle",
            "The URL at which the instance says whether it has installed itself.",
            {},
        ),
        installed(stack, release): resource(
            "AWS::CloudFormation::WaitCondition",
            "Fails the deployment, with the end of the instance's log, unless the service gets ready.",
            {"Handle": ref(_handle(stack, release)), "Timeout": str(INSTALL_SECONDS), "Count": 1},
            after=["Instance"],
        ),
    }


def installed(stack: Stack, release: Release) -> str:
    """The logical id of the wait condition, which exists once the instance has installed itself.

    CloudFormation waits for a condition only when it creates it, so each instance has one of its own:
    the id changes with whatever replaces the instance.
    """
    return f"Installed{_digest(stack, release)}"


def _template(stack: Stack, release: Release) -> str:
    """The logical id of the launch template, of which each instance has its own.

    Of one that they share, a rollback leaves the version that failed the latest.
    """
    return f"LaunchTemplate{_digest(stack, release)}"


def _handle(stack: Stack, release: Release) -> str:
    return f"InstalledHandle{_digest(stack, release)}"


def _digest(stack: Stack, release: Release) -> str:
    everything = [_launch_without_script(stack), _instance(stack, template="")]
    script = user_data.script(stack, release, handle="")
    return hashlib.sha256(json.dumps([everything, script]).encode()).hexdigest()[:12]


def _instance(stack: Stack, template: str) -> Resource:
    properties: Resource = {
        "LaunchTemplate": {
            "LaunchTemplateId": ref(template),
            "Version": attribute(template, "LatestVersionNumber"),
        },
        "Tags": _tags(stack),
    }
    if stack.instance.subnet:
        properties["SubnetId"] = stack.instance.subnet
    return properties


def _launch(stack: Stack, release: Release) -> Resource:
    lines = user_data.script(stack, release, _handle(stack, release)).split("\n")
    return _launch_without_script(stack) | {
        "UserData": {"Fn::Base64": {"Fn::Join": ["\n", lines]}}  # line by line, to be read
    }


def _launch_without_script(stack: Stack) -> Resource:
    kind = stack.instance.type
    data: Resource = {
        "InstanceType": kind,
        "ImageId": f"resolve:ssm:{IMAGE.format(machines.architecture(kind))}",
        "IamInstanceProfile": {"Arn": attribute("InstanceProfile", "Arn")},
        "SecurityGroupIds": [attribute("SecurityGroup", "GroupId")],
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,  # nothing on the machine routes, so nothing else needs them
            "InstanceMetadataTags": "disabled",
        },
        # Not EbsOptimized: t2 types refuse it, and all newer ones are so without it.
        "BlockDeviceMappings": [
            {
                "DeviceName": ROOT_DEVICE,
                "Ebs": {
                    "VolumeType": "gp3",
                    "VolumeSize": stack.instance.volume_gb,
                    "Encrypted": True,
                    "DeleteOnTermination": True,  # it is a cache: bucket and queue hold everything
                },
            }
        ],
        # EC2 moves the instance to other hardware where its own fails. Types with disks of their own and
        # metal cannot be moved; for them the alarm of the status check remains.
        "MaintenanceOptions": {"AutoRecovery": "default"},
        "Monitoring": {"Enabled": True},  # by the minute: five-minute means hide a micro-batch
        "TagSpecifications": [
            {"ResourceType": "volume", "Tags": _tags(stack)},
        ],
    }
    if machines.is_burstable(kind):
        data["CreditSpecification"] = {"CpuCredits": stack.instance.cpu_credits}
    return data


def _tags(stack: Stack) -> list[Resource]:
    return [{"Key": "Name", "Value": stack.name}]
