"""The bucket's notifications: our entry in a configuration that may hold other people's."""

import time
from typing import Any

from botocore.exceptions import ClientError

from infra_scripts.errors import Conflict
from infra_scripts.stack import EVENTS, Place, Stack

Configuration = dict[str, Any]

DESTINATIONS = {
    "QueueConfigurations": "QueueArn",
    "TopicConfigurations": "TopicArn",
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
}
POLICY_DELAY_SECONDS = 60  # a queue's new policy may take so long to be seen by S3
RETRY_SECONDS = 2


def want(before: Configuration | None, stack: Stack, place: Place) -> Configuration:
    """``before`` with our entry in it; raises :class:`Conflict` where S3 would refuse that."""
    prefix = {"Name": "prefix", "Value": stack.layout.photos_prefix}
    ours: Configuration = {
        "Id": stack.notification_id,
        "QueueArn": place.queue_arn(stack.queue),
        "Events": list(EVENTS),
        "Filter": {"Key": {"FilterRules": [prefix]}},
    }
    known = before or {}
    for kind, destination in DESTINATIONS.items():
        for entry in known.get(kind, []):
            if entry.get("Id") != stack.notification_id and _overlap(entry, ours):
                raise Conflict(
                    f"bucket {stack.bucket!r} already sends events under "
                    f"{_prefix(entry) or 'every prefix'!r} to {entry.get(destination)} (configuration "
                    f"{entry.get('Id')!r}), and S3 allows one destination: remove that configuration "
                    "or choose another storage.photos_prefix"
                )
    entries = known.get("QueueConfigurations", [])
    if any(_same(entry, ours) for entry in entries):
        return known
    others = [entry for entry in entries if entry.get("Id") != stack.notification_id]
    return {**known, "QueueConfigurations": [*others, ours]}


def without(before: Configuration, stack: Stack) -> Configuration:
    """``before`` less our entry."""
    after = dict(before)
    entries = after.pop("QueueConfigurations", [])
    if others := [entry for entry in entries if entry.get("Id") != stack.notification_id]:
        after["QueueConfigurations"] = others
    return after


def read(s3: Any, bucket: str) -> Configuration:
    """The whole configuration; empty where nothing is notified."""
    answer = s3.get_bucket_notification_configuration(Bucket=bucket)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def write(s3: Any, bucket: str, configuration: Configuration) -> None:
    """Replace the whole configuration, waiting for a new queue policy to be seen by S3."""
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


def _same(entry: Configuration, ours: Configuration) -> bool:
    """Equal but for order and spelling: S3 gives a filter rule's name back in capitals."""
    return (
        entry.get("Id") == ours["Id"]
        and entry.get("QueueArn") == ours["QueueArn"]
        and set(entry.get("Events", [])) == set(ours["Events"])
        and _rules(entry) == _rules(ours)
    )


def _overlap(entry: Configuration, ours: Configuration) -> bool:
    """Whether some event would match both, whatever suffix ``entry`` asks for."""
    prefix, other = _prefix(ours), _prefix(entry)
    kinds = tuple(event.removesuffix("*") for event in ours["Events"])
    return (prefix.startswith(other) or other.startswith(prefix)) and any(
        event.startswith(kinds) for event in entry.get("Events", [])
    )


def _rules(entry: Configuration) -> dict[str, str]:
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return {rule["Name"].lower(): rule["Value"] for rule in rules if rule["Value"]}


def _prefix(entry: Configuration) -> str:
    return _rules(entry).get("prefix", "")
