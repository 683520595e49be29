"""The instance in the template: the machine, what replaces it, and what waits for it."""

from dataclasses import replace

import botocore.session
import pytest
from botocore.validate import validate_parameters

from infra_scripts.release import Release
from infra_scripts.stack import Instance
from infra_scripts.template.instance import installed, resources
from tests.support.templates import RELEASE, SUBNET, resolved, stack_on

STACK = stack_on("t2.xlarge")


def launch(kind: str = "t2.xlarge", **settings: object) -> dict:
    return launch_of(resources(stack_on(kind, **settings), RELEASE))


def launch_of(made: dict) -> dict:
    """What the launch template that the instance names has in it."""
    named = made["Instance"]["Properties"]["LaunchTemplate"]["LaunchTemplateId"]["Ref"]
    assert made[named]["Type"] == "AWS::EC2::LaunchTemplate"
    return made[named]["Properties"]["LaunchTemplateData"]


def test_ec2_knows_every_member_of_the_launch_template() -> None:
    service = botocore.session.get_session().get_service_model("ec2")
    shape = service.shape_for("RequestLaunchTemplateData")
    for kind in ("t2.xlarge", "c7g.xlarge"):
        validate_parameters(resolved(launch(kind), {}), shape)


def test_the_machine_is_locked_down() -> None:
    data = launch(volume_gb=77)
    options = data["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)
    assert options["InstanceMetadataTags"] == "disabled"
    [volume] = data["BlockDeviceMappings"]
    assert volume["DeviceName"] == "/dev/sda1"
    assert volume["Ebs"] == {
        "VolumeType": "gp3",
        "VolumeSize": 77,
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    assert data["SecurityGroupIds"] == [{"Fn::GetAtt": ["SecurityGroup", "GroupId"]}]
    assert not {"KeyName", "NetworkInterfaces"} & data.keys()


def test_it_recovers_by_itself() -> None:
    assert launch()["MaintenanceOptions"] == {"AutoRecovery": "default"}


@pytest.mark.parametrize(("kind", "architecture"), [("t2.xlarge", "amd64"), ("c7g.large", "arm64")])
def test_the_image_is_looked_up_when_the_instance_is_launched(kind: str, architecture: str) -> None:
    image = launch(kind)["ImageId"]
    assert image.startswith("resolve:ssm:/aws/service/canonical/ubuntu/server/24.04/")
    assert f"/{architecture}/" in image


def test_only_burstable_types_have_credits() -> None:
    assert launch("t3.large", cpu_credits="unlimited")["CreditSpecification"] == {
        "CpuCredits": "unlimited"
    }
    assert launch()["CreditSpecification"] == {"CpuCredits": "standard"}
    assert "CreditSpecification" not in launch("c7i.xlarge")


def test_the_instance_is_of_the_latest_version_of_its_template_and_in_its_subnet() -> None:
    properties = resources(STACK, RELEASE)["Instance"]["Properties"]
    named = properties["LaunchTemplate"]["LaunchTemplateId"]["Ref"]
    version = {"Fn::GetAtt": [named, "LatestVersionNumber"]}
    assert properties["LaunchTemplate"]["Version"] == version
    assert "SubnetId" not in properties
    inside = resources(stack_on("t2.xlarge", subnet=SUBNET), RELEASE)["Instance"]["Properties"]
    assert inside["SubnetId"] == SUBNET


def test_the_condition_waits_for_the_instance_at_the_handle_that_this_reports_to() -> None:
    made = resources(STACK, RELEASE)
    condition = made[installed(STACK, RELEASE)]
    assert condition["Type"] == "AWS::CloudFormation::WaitCondition"
    assert condition["DependsOn"] == ["Instance"]
    assert condition["Properties"]["Timeout"] == "900"
    handle = condition["Properties"]["Handle"]["Ref"]
    assert made[handle]["Type"] == "AWS::CloudFormation::WaitConditionHandle"
    lines = launch_of(made)["UserData"]["Fn::Base64"]["Fn::Join"][1]
    assert f"SIGNAL='${{{handle}}}'" in lines


def test_whatever_replaces_the_instance_has_a_condition_of_its_own() -> None:
    """CloudFormation waits only for a condition that it creates."""
    other = Release(key="releases/x.tar.gz", sha256="1" * 64)
    ids = {
        installed(STACK, RELEASE),
        installed(STACK, other),
        *(
            installed(replace(STACK, instance=instance), RELEASE)
            for instance in (
                Instance(type="c7i.xlarge"),
                Instance(type="t2.xlarge", volume_gb=50),
                Instance(type="t2.xlarge", cpu_credits="unlimited"),
                Instance(type="t2.xlarge", subnet=SUBNET),
            )
        ),
    }
    assert len(ids) == 6
    assert all(name.isalnum() for name in ids)


def test_a_rollback_finds_the_launch_template_as_it_was() -> None:
    """CloudFormation's rollback does not remove the version that failed."""
    other = Release(key="releases/x.tar.gz", sha256="1" * 64)
    before, after = resources(STACK, RELEASE), resources(STACK, other)
    assert set(before) & set(after) == {"Instance"}


def test_what_does_not_touch_the_instance_does_not_replace_it() -> None:
    other = replace(STACK, log_retention_days=90, max_receives=3)
    assert resources(other, RELEASE) == resources(STACK, RELEASE)
