"""The bucket's notifications: our entry in a configuration that may hold other people's."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from infra_scripts.bucket_settings import present
from infra_scripts.errors import Conflict
from infra_scripts.parts import Part
from infra_scripts.stack import EVENTS, Place, Stack

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import (
        LambdaFunctionConfigurationUnionTypeDef,
        NotificationConfigurationTypeDef,
        QueueConfigurationTypeDef,
        QueueConfigurationUnionTypeDef,
        TopicConfigurationUnionTypeDef,
    )

    Entry = (
        QueueConfigurationUnionTypeDef
        | TopicConfigurationUnionTypeDef
        | LambdaFunctionConfigurationUnionTypeDef
    )

POLICY_DELAY_SECONDS = 60  # S3 may take so long to see a queue's new policy
RETRY_SECONDS = 2


def part(s3: "S3Client", stack: Stack, place: Place) -> "Part[NotificationConfigurationTypeDef]":
    """Our entry; the queue and its policy must exist when it is written."""
    return Part(
        f"bucket {stack.bucket}: notifications to {stack.queue}",
        lambda: present(lambda: read(s3, stack.bucket)) or None,
        lambda before: want(before, stack, place),
        lambda before, after: write(s3, stack.bucket, after),
    )


def want(
    before: "NotificationConfigurationTypeDef | None", stack: Stack, place: Place
) -> "NotificationConfigurationTypeDef":
    """``before`` with our entry in it, and ``before`` itself where it is there already.

    Raises :class:`Conflict` where another entry overlaps with ours, which S3 would refuse.
    """
    known: NotificationConfigurationTypeDef = before or {}
    ours: QueueConfigurationTypeDef = {
        "Id": stack.notification_id,
        "QueueArn": place.queue_arn(stack.queue),
        "Events": list(EVENTS),
        "Filter": {
            "Key": {"FilterRules": [{"Name": "prefix", "Value": stack.layout.photos_prefix}]}
        },
    }
    for destination, entry in _entries(known):
        if entry.get("Id") != stack.notification_id and _overlap(entry, ours):
            raise Conflict(
                f"bucket {stack.bucket!r} already sends events under "
                f"{_prefix(entry) or 'every prefix'!r} to {destination} (configuration "
                f"{entry.get('Id')!r}), and S3 allows one destination: remove that configuration "
                "or choose another storage.photos_prefix"
            )
    entries = known.get("QueueConfigurations", [])
    if any(_same(entry, ours) for entry in entries):
        return known
    others = [entry for entry in entries if entry.get("Id") != stack.notification_id]
    return {**known, "QueueConfigurations": [*others, ours]}


def without(
    before: "NotificationConfigurationTypeDef", stack: Stack
) -> "NotificationConfigurationTypeDef":
    """``before`` without our entry."""
    after = before.copy()
    entries = after.pop("QueueConfigurations", [])
    if others := [entry for entry in entries if entry.get("Id") != stack.notification_id]:
        after["QueueConfigurations"] = others
    return after


def read(s3: "S3Client", bucket: str) -> "NotificationConfigurationTypeDef":
    """The whole configuration; empty where the bucket notifies nobody.

    Raises botocore's ``ClientError`` or ``BotoCoreError``.
    """
    answer = s3.get_bucket_notification_configuration(Bucket=bucket)
    members = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
    return cast("NotificationConfigurationTypeDef", members)


def write(s3: "S3Client", bucket: str, configuration: "NotificationConfigurationTypeDef") -> None:
    """Replace the whole configuration.

    S3 refuses it until it sees the queue's policy, so a refusal is retried for
    ``POLICY_DELAY_SECONDS``. Raises botocore's ``ClientError`` or ``BotoCoreError``; the old
    configuration then remains, unless only the answer was lost.
    """
    deadline = time.monotonic() + POLICY_DELAY_SECONDS
    while True:
        try:
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration=configuration
            )
        except ClientError as error:
            unseen = "Unable to validate the following destination" in str(error)
            if not unseen or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


def _entries(configuration: "NotificationConfigurationTypeDef") -> "Iterator[tuple[str, Entry]]":
    """Every entry with the ARN that it sends to."""
    for queue in configuration.get("QueueConfigurations", []):
        yield queue["QueueArn"], queue
    for topic in configuration.get("TopicConfigurations", []):
        yield topic["TopicArn"], topic
    for function in configuration.get("LambdaFunctionConfigurations", []):
        yield function["LambdaFunctionArn"], function


def _same(entry: "QueueConfigurationUnionTypeDef", ours: "QueueConfigurationTypeDef") -> bool:
    """Equal but for order and spelling: S3 returns a filter rule's name capitalised."""
    return (
        entry.get("Id") == ours["Id"]
        and entry.get("QueueArn") == ours["QueueArn"]
        and set(entry.get("Events", [])) == set(ours["Events"])
        and _rules(entry) == _rules(ours)
    )


def _overlap(entry: "Entry", ours: "QueueConfigurationTypeDef") -> bool:
    """Whether some event would match both, whatever suffix ``entry`` filters by."""
    prefix, other = _prefix(ours), _prefix(entry)
    kinds = tuple(event.removesuffix("*") for event in ours["Events"])
    return (prefix.startswith(other) or other.startswith(prefix)) and any(
        event.startswith(kinds) for event in entry.get("Events", [])
    )


def _rules(entry: "Entry") -> dict[str, str]:
    if "Filter" not in entry or "Key" not in entry["Filter"]:
        return {}
    rules = entry["Filter"]["Key"].get("FilterRules", [])
    return {rule["Name"].lower(): rule["Value"] for rule in rules if rule["Value"]}


def _prefix(entry: "Entry") -> str:
    return _rules(entry).get("prefix", "")
