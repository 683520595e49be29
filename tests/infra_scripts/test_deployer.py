"""The deployer's policy against the schemas of CloudFormation's types, which list what each needs.

What CloudFormation does on the caller's behalf shows only at AWS itself; the lists document it. What we
request ourselves is recorded, see ``tests/test_least_privilege.py``.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from infra_scripts import deployer
from infra_scripts.stack import Instance, Place
from tests.support.aws import unique_stack
from tests.support.templates import templates

PLACE = Place("aws", "eu-west-1", "111111111111")
STACK = unique_stack(queue="q", bucket="b", instance=Instance(type="t2.xlarge"))

# All types of resources that the template has.
TYPES = {
    *("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm", "AWS::CloudWatch::Dashboard"),
    *("AWS::EC2::Instance", "AWS::EC2::LaunchTemplate", "AWS::EC2::SecurityGroup"),
    *("AWS::IAM::InstanceProfile", "AWS::IAM::Role", "AWS::KMS::Key", "AWS::Logs::LogGroup"),
    *("AWS::Logs::QueryDefinition", "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::SNS::Topic"),
    *("AWS::SNS::TopicInlinePolicy", "AWS::SQS::Queue", "AWS::SQS::QueueInlinePolicy"),
    *("AWS::CloudFormation::WaitCondition", "AWS::CloudFormation::WaitConditionHandle"),
}

# What the schemas list for properties that the template does not set; * stands for any end of a name.
NOT_SET = {
    "ec2:AttachVolume": "volumes of their own",
    "ec2:DescribeKeyPairs": "SSH",
    "ec2:DetachVolume": "volumes of their own",
    "ec2:ModifyInstancePlacement": "hosts and placement groups",
    "ec2:ModifyPrivateDnsNameOptions": "names in DNS",
    "ssm:*": "associations of documents",
    "firehose:*": "log groups that are delivered elsewhere",
    "iam:AttachRolePolicy": "managed policies",
    "iam:DetachRolePolicy": "managed policies",
    "iam:DeleteRolePermissionsBoundary": "boundaries",
    "iam:PutRolePermissionsBoundary": "boundaries",
    "logs:AssociateKmsKey": "keys of log groups",
    "logs:CreateLogDelivery": "log groups that are delivered elsewhere",
    "logs:DeleteDataProtectionPolicy": "data protection",
    "logs:DeleteIndexPolicy": "indexes",
    "logs:DeleteResourcePolicy": "policies of log groups",
    "logs:DisassociateKmsKey": "keys of log groups",
    "logs:PutBearerTokenAuthentication": "tokens",
    "logs:PutDataProtectionPolicy": "data protection",
    "logs:PutIndexPolicy": "indexes",
    "logs:PutLogGroupDeletionProtection": "protection against deletion",
    "logs:PutResourcePolicy": "policies of log groups",
    "s3:CreateBucketMetadataTableConfiguration": "metadata tables",
    "s3:DeleteBucket*": "settings that the bucket does not get, or keeps",
    "s3:GetBucketAcl": "an access control list",
    **dict.fromkeys(
        (
            *("s3:PutAccelerateConfiguration", "s3:PutAnalyticsConfiguration", "s3:PutBucketAbac"),
            *("s3:PutBucketAcl", "s3:PutBucketCORS", "s3:PutBucketLogging", "s3:PutObjectAcl"),
            *("s3:PutBucketObjectLockConfiguration", "s3:PutBucketReplication"),
            *("s3:PutBucketVersioning", "s3:PutBucketWebsite", "s3:PutInventoryConfiguration"),
            *("s3:PutIntelligentTieringConfiguration", "s3:PutMetricsConfiguration"),
            *("s3:PutObjectLockConfiguration", "s3:PutReplicationConfiguration"),
        ),
        "settings that the bucket does not get",
    ),
    "s3:REST.PUT.OBJECT": "log groups that are delivered elsewhere",
    "s3:TagResource": "tags of other resources than buckets",
    "s3:UntagResource": "tags of other resources than buckets",
    "s3:UpdateBucketMetadata*": "metadata tables",
    "s3tables:*": "metadata tables",
    "sns:PutDataProtectionPolicy": "data protection",
}

# Those of our own requests, and of EC2's for the image: no handler lists them.
OF_OUR_OWN = {
    *("KeepReleases", "DeleteData", "FindData", "Stack", "FindImage", "SeeOffers"),
}


def schema(kind: str) -> dict[str, Any]:
    return PROVIDER_SCHEMA_MANAGER.get_resource_schema(PLACE.region, kind).schema


def handled(kind: str) -> set[str]:
    """What the handlers of a type need, but those that only list resources."""
    return {
        action
        for name, handler in schema(kind).get("handlers", {}).items()
        if name != "list"
        for action in handler["permissions"]
    }


def statements() -> list[dict[str, Any]]:
    return deployer.policy(STACK, PLACE)["Statement"]


def granted() -> set[str]:
    return {action for each in statements() for action in each["Action"]}


def test_the_template_has_no_other_types() -> None:
    used = {each["Type"] for made in templates().values() for each in made["Resources"].values()}
    assert used <= TYPES


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_what_a_type_needs_is_granted(kind: str) -> None:
    missing = handled(kind) - granted()
    families = tuple(name.removesuffix("*") for name in NOT_SET if name.endswith("*"))
    assert {each for each in missing if not each.startswith(families)} <= NOT_SET.keys()


def test_nothing_is_excepted_that_no_type_needs() -> None:
    needed = {action for kind in TYPES for action in handled(kind)} - granted()
    for name in NOT_SET:
        stem = name.removesuffix("*")
        assert any(each == name or (stem != name and each.startswith(stem)) for each in needed), (
            name
        )


def test_nothing_is_granted_that_no_type_needs() -> None:
    needed = {action for kind in TYPES for action in handled(kind)}
    for statement in statements():
        if statement["Sid"] not in OF_OUR_OWN:
            assert not set(statement["Action"]) - needed, statement["Sid"]


def test_what_can_be_restricted_is() -> None:
    """Only what has no ARN, or has none before it is made, is allowed on everything."""
    for statement in statements():
        resources = statement["Resource"]
        if resources == "*" and "Condition" not in statement:
            assert statement["Sid"] in {
                "SeeMachines",
                "SeeOffers",
                "SeeAlarms",
                "FindLogs",
                "MakeKey",
            }
        assert not any("*" in action for action in statement["Action"])
    assert len(json.dumps(deployer.policy(STACK, PLACE), separators=(",", ":"))) < 10_240


def test_tags_are_expected_only_where_cloudformation_sets_them() -> None:
    untagged = {
        action
        for kind in TYPES
        if not schema(kind).get("tagging", {}).get("cloudFormationSystemTags")
        for action in handled(kind)
    }
    for statement in statements():
        if "aws:ResourceTag" in json.dumps(statement.get("Condition", {})):
            shared = set(statement["Action"]) & untagged
            assert shared <= {"ec2:CreateTags", "ec2:DeleteTags"}, statement["Sid"]


def test_the_documentation_lists_every_statement() -> None:
    text = (Path(__file__).parents[2] / "docs/permissions.md").read_text(encoding="utf-8")
    rows = text.partition("## Whoever deploys")[2].partition("## Keys")[0]
    names = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", rows, re.MULTILINE)
    documented = {sid.strip("`") for each in names for sid in each.split(", ")}
    assert documented == {each["Sid"] for each in statements()}


def test_without_an_instance_there_is_nothing_about_machines() -> None:
    without = deployer.policy(unique_stack(), PLACE)["Statement"]
    assert not [each for each in without for action in each["Action"] if action.startswith("ec2:")]
