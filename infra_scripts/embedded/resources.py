"""The resources of the embedded AWS' CloudFormation: kinds that moto lacks or handles in part.

A bucket gets its settings, a queue and a log group can be updated, policies of queues and buckets are
in effect. Of the kinds in :data:`UNKNOWN` nothing is made: the stack has them, with a made-up name and
made-up attributes, and no other service knows of them.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel
from moto.logs.models import LogGroup, logs_backends
from moto.s3.models import FakeBucket, s3_backends
from moto.sqs.exceptions import QueueDoesNotExist
from moto.sqs.models import sqs_backends
from moto.utilities.utils import get_partition

from infra_scripts.embedded.queue import FastQueue

Properties = dict[str, Any]
# Account, region, and properties with the physical id that there is or could be -> physical id.
Put = Callable[[str, str, Properties], str]
Delete = Callable[[str, str, Properties], None]

# What our template declares and is not made here.
UNKNOWN: Final = (
    "AWS::CloudFormation::WaitCondition",
    "AWS::CloudFormation::WaitConditionHandle",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::EC2::Instance",
    "AWS::EC2::LaunchTemplate",
    "AWS::Logs::QueryDefinition",
    "AWS::SNS::TopicInlinePolicy",
)

_Queue: Any = (
    FastQueue.__base__
)  # the class that CloudFormation looks for; what it makes are FastQueues
_queue_by_moto: Any = _Queue.create_from_cloudformation_json
_queue_deletion_by_moto: Any = _Queue.delete_from_cloudformation_json
_bucket_by_moto: Any = FakeBucket.create_from_cloudformation_json
_bucket_update_by_moto: Any = FakeBucket.update_from_cloudformation_json


def _kind(name: str, put: Put, delete: Delete) -> None:
    """Let moto make resources of the kind ``name`` with these functions."""

    class Kind(CloudFormationModel):
        def __init__(self, physical: str) -> None:
            self.physical_resource_id = physical

        @staticmethod
        def cloudformation_name_type() -> str:
            return ""

        @staticmethod
        def cloudformation_type() -> str:
            return name

        @classmethod
        def create_from_cloudformation_json(
            cls,
            resource_name: str,
            cloudformation_json: Any,
            account_id: str,
            region_name: str,
            **_: Any,
        ) -> Any:
            properties = cloudformation_json["Properties"] | {"Physical": resource_name}
            return cls(put(account_id, region_name, properties))

        @classmethod
        def update_from_cloudformation_json(
            cls,
            original_resource: Any,
            new_resource_name: str,
            cloudformation_json: Any,
            account_id: str,
            region_name: str,
        ) -> Any:
            before = {"Physical": original_resource.physical_resource_id}
            return cls(put(account_id, region_name, cloudformation_json["Properties"] | before))

        @classmethod
        def delete_from_cloudformation_json(
            cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str
        ) -> None:
            properties = cloudformation_json["Properties"]
            delete(account_id, region_name, properties | {"Physical": resource_name})

        @classmethod
        def has_cfn_attr(cls, attr: str) -> bool:
            return True

        def get_cfn_attribute(self, attribute_name: str) -> str:
            return f"{self.physical_resource_id}.{attribute_name}"

        def is_created(self) -> bool:
            return True

    # moto finds them as subclasses, which are held weakly.
    _kinds.append(cast(type[CloudFormationModel], Kind))


_kinds: list[type[CloudFormationModel]] = []


def _make_up(account: str, region: str, properties: Properties) -> str:
    return str(properties["Physical"])


def _put_queue_policy(account: str, region: str, properties: Properties) -> str:
    name = properties["Queue"].rpartition("/")[2]
    document = json.dumps(properties["PolicyDocument"])
    sqs_backends[account][region].get_queue(name).policy = document
    return str(properties["Queue"])


def _delete_queue_policy(account: str, region: str, properties: Properties) -> None:
    with suppress(QueueDoesNotExist):
        sqs_backends[account][region].get_queue(
            properties["Physical"].rpartition("/")[2]
        ).policy = None


def _put_bucket_policy(account: str, region: str, properties: Properties) -> str:
    s3 = s3_backends[account][get_partition(region)]
    s3.put_bucket_policy(properties["Bucket"], json.dumps(properties["PolicyDocument"]).encode())
    return str(properties["Bucket"])


def _delete_bucket_policy(account: str, region: str, properties: Properties) -> None:
    s3_backends[account][get_partition(region)].delete_bucket_policy(properties["Physical"])


def _create_bucket(
    cls: Any, name: str, document: Any, account_id: str, region_name: str, /, **others: Any
) -> FakeBucket:
    bucket: FakeBucket = _bucket_by_moto(name, document, account_id, region_name, **others)
    _set_bucket(bucket, document["Properties"], account_id, region_name)
    return bucket


def _update_bucket(
    cls: Any,
    original_resource: Any,
    new_resource_name: str,
    cloudformation_json: Any,
    account_id: str,
    region_name: str,
) -> FakeBucket:
    arguments = (original_resource, new_resource_name, cloudformation_json, account_id, region_name)
    bucket: FakeBucket = _bucket_update_by_moto(*arguments)
    _set_bucket(bucket, cloudformation_json["Properties"], account_id, region_name)
    return bucket


def _set_bucket(bucket: FakeBucket, properties: Properties, account: str, region: str) -> None:
    s3 = s3_backends[account][get_partition(region)]
    if blocked := properties.get("PublicAccessBlockConfiguration"):
        s3.put_public_access_block(bucket.name, blocked)
    for rule in properties.get("OwnershipControls", {}).get("Rules", []):
        s3.put_bucket_ownership_controls(bucket.name, rule["ObjectOwnership"])
    if rules := properties.get("LifecycleConfiguration", {}).get("Rules"):
        s3.put_bucket_lifecycle_configuration(bucket.name, [_rule_of_s3(rule) for rule in rules])


def _rule_of_s3(rule: Properties) -> Properties:
    """The rule as S3 spells it, where CloudFormation spells it otherwise."""
    others = {name: value for name, value in rule.items() if name not in ("Id", "Prefix")}
    converted = {**others, "ID": rule["Id"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if converted.pop("ExpiredObjectDeleteMarker", False):
        converted["Expiration"] = {"ExpiredObjectDeleteMarker": "true"}
    return converted


def _create_queue(
    cls: Any, name: str, document: Any, account_id: str, region_name: str, /, **others: Any
) -> Any:
    spelt = document | {"Properties": _attributes(document["Properties"])}
    return _queue_by_moto(name, spelt, account_id, region_name, **others)


def _attributes(properties: Properties) -> Properties:
    """The properties as SQS spells its attributes: booleans and documents are strings."""
    return {
        name: json.dumps(value) if isinstance(value, (bool, dict)) else value
        for name, value in properties.items()
    }


def _delete_queue(cls: Any, resource_name: str, document: Any, account: str, region: str) -> None:
    with suppress(QueueDoesNotExist):  # somebody has deleted it; to CloudFormation that will do
        _queue_deletion_by_moto(resource_name, document, account, region)


def _update_queue(
    cls: Any,
    original_resource: Any,
    new_resource_name: str,
    cloudformation_json: Any,
    account_id: str,
    region_name: str,
) -> Any:
    properties = cloudformation_json["Properties"]
    sqs = sqs_backends[account_id][region_name]
    queue = sqs.get_queue(original_resource.name)
    others = {
        name: value for name, value in properties.items() if name not in ("QueueName", "Tags")
    }
    others = _attributes(others)
    # Without the policy, which is a resource of its own, moto would drop it.
    queue._set_attributes(_attributes(others) | {"Policy": queue.policy})
    return queue


def _update_log_group(
    cls: Any,
    original_resource: LogGroup,
    new_resource_name: str,
    cloudformation_json: Any,
    account_id: str,
    region_name: str,
) -> LogGroup:
    properties = cloudformation_json["Properties"]
    backend = logs_backends[account_id][region_name]
    backend.put_retention_policy(original_resource.name, properties["RetentionInDays"])
    return original_resource


def install() -> None:
    """Teach moto these; call once, before it looks up the first kind."""
    _kind("AWS::SQS::QueueInlinePolicy", _put_queue_policy, _delete_queue_policy)
    _kind("AWS::S3::BucketPolicy", _put_bucket_policy, _delete_bucket_policy)
    untyped: Any = FakeBucket  # so that its methods can be replaced
    untyped.create_from_cloudformation_json = classmethod(_create_bucket)
    untyped.update_from_cloudformation_json = classmethod(_update_bucket)
    untyped = _Queue
    untyped.delete_from_cloudformation_json = classmethod(_delete_queue)
    untyped.create_from_cloudformation_json = classmethod(_create_queue)
    untyped.update_from_cloudformation_json = classmethod(_update_queue)
    untyped = LogGroup
    untyped.update_from_cloudformation_json = classmethod(_update_log_group)
    for name in UNKNOWN:
        _kind(name, _make_up, lambda account, region, properties: None)
    untyped = parsing
    untyped.NULL_MODELS.clear()  # for these moto would make nothing that others can refer to
