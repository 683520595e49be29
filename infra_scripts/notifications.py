"""The bucket's notifications: our entry in a configuration that may hold other people's."""

import time
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from common import aws_errors
from infra_scripts.bucket_settings import present
from infra_scripts.errors import Conflict
from infra_scripts.parts import Part
from infra_scripts.stack import EVENTS, MORE_EVENTS, NOTIFICATION_PREFIX, Place, Stack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from types_boto3_s3 import S3Client
    from types_boto3_s3.literals import EventType
    from types_boto3_s3.type_defs import (
        FilterRuleTypeDef,
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
        lambda before, after: _write_offered(s3, stack, place, after),
        lambda after: _note(after, stack),
    )


def left(s3: "S3Client", stack: Stack, bucket: str) -> "Part[NotificationConfigurationTypeDef]":
    """Our entry in a bucket that the stack used before: it goes, those of others stay.

    S3 may not send to the queue any more, and would refuse whatever others want to change there. Who
    may not read that bucket is told what to remove, because the stack can do without.
    """
    unread: list[str] = []

    def known() -> "NotificationConfigurationTypeDef | None":
        unread.clear()
        try:
            return present(lambda: read(s3, bucket)) or None
        except ClientError as error:
            if not aws_errors.is_denied(error):
                raise
            unread.append(aws_errors.code_of(error))
            return None

    def note(_: object) -> str:
        if not unread:
            return ""
        return (
            f"not looked at ({unread[0]}): remove the configuration {stack.notification_id!r} or "
            f"{stack.basic_notification_id!r} from that bucket's event notifications, if it is there"
        )

    return Part(
        f"bucket {bucket}, which the stack leaves: notifications to {stack.queue}",
        known,
        lambda before: before and without(before, stack),
        lambda before, after: write(s3, bucket, after),
        note,
    )


def want(
    before: "NotificationConfigurationTypeDef | None", stack: Stack, place: Place
) -> "NotificationConfigurationTypeDef":
    """``before`` with our entry in it, and ``before`` itself where it is there already.

    Raises :class:`Conflict` where another entry overlaps with :data:`EVENTS`, which S3 would refuse;
    what else others have of ours, :data:`MORE_EVENTS`, is left to them.
    """
    known: NotificationConfigurationTypeDef = before or {}
    prefix = stack.layout.photos_prefix
    others = [each for each in _entries(known) if not _is_ours(each[1], stack)]
    for destination, entry in others:
        if _overlap(entry, prefix, EVENTS):
            raise Conflict(
                f"bucket {stack.bucket!r} already sends events under "
                f"{_prefix(entry) or 'every prefix'!r} to {destination} (configuration "
                f"{entry.get('Id')!r}), and S3 allows one destination: remove that configuration "
                "or choose another storage.photos_prefix"
            )
    free = [
        event
        for event in MORE_EVENTS
        if not any(_overlap(entry, prefix, (event,)) for _, entry in others)
    ]
    ours = _entry(stack, place, stack.notification_id, [*EVENTS, *free])
    basic = _entry(stack, place, stack.basic_notification_id, EVENTS)
    entries = known.get("QueueConfigurations", [])
    if any(_same(entry, ours) or _same(entry, basic) for entry in entries):
        return known
    return _with(known, ours, stack)


def without(
    before: "NotificationConfigurationTypeDef", stack: Stack
) -> "NotificationConfigurationTypeDef":
    """``before`` without our entry."""
    after = before.copy()
    entries = after.pop("QueueConfigurations", [])
    if others := [entry for entry in entries if not _is_ours(entry, stack)]:
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
            if not _is_of_destination(error) or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


def _write_offered(
    s3: "S3Client", stack: Stack, place: Place, after: "NotificationConfigurationTypeDef"
) -> "NotificationConfigurationTypeDef | None":
    """Write ``after``; where S3 refuses it, with :data:`EVENTS` alone, which is then returned.

    The Id of that entry tells it from one that was written before we asked for more.
    """
    try:
        write(s3, stack.bucket, after)
    except ClientError as error:
        if not _may_be_of_events(error):
            raise
    else:
        return None
    fewer = _with(after, _entry(stack, place, stack.basic_notification_id, EVENTS), stack)
    write(s3, stack.bucket, fewer)
    return fewer


def _is_of_destination(error: ClientError) -> bool:
    return "Unable to validate the following destination" in str(error)


def _may_be_of_events(error: ClientError) -> bool:
    """Whether S3 may have refused an event's name: InvalidArgument, MalformedXML, NotImplemented, ….

    Implementations differ; whether it was that shows when the request is made without those events.
    """
    if aws_errors.status_of(error) != 400:
        return aws_errors.status_of(error) == 501
    others = (_is_of_destination, aws_errors.is_refusal, aws_errors.is_overloaded)
    return not any(is_other(error) for is_other in others)


def _note(after: "NotificationConfigurationTypeDef | None", stack: Stack) -> str:
    entries = (after or {}).get("QueueConfigurations", [])
    ours = next((entry for entry in entries if _is_ours(entry, stack)), None)
    missing = [event for event in MORE_EVENTS if ours and event not in ours["Events"]]
    if not (ours and missing):
        return ""
    why = "another configuration has them"
    if ours.get("Id") == stack.basic_notification_id:
        why = (
            "this S3 refused them; should it offer them now, remove the configuration "
            f"{stack.basic_notification_id!r} and deploy again"
        )
    return (
        f"not subscribed: {', '.join(missing)} ({why}): the daily reconciliation finds such changes "
        "instead"
    )


def _entry(
    stack: Stack, place: Place, name: str, events: "Iterable[EventType]"
) -> "QueueConfigurationTypeDef":
    rules: list[FilterRuleTypeDef] = [{"Name": "prefix", "Value": stack.layout.photos_prefix}]
    return {
        "Id": name,
        "QueueArn": place.queue_arn(stack.queue),
        "Events": list(events),
        "Filter": {"Key": {"FilterRules": rules}},
    }


def is_of_a_stack(entry: "Entry") -> bool:
    """Whether it is the entry of a stack like ours, of which there is one in a bucket."""
    return entry.get("Id", "").startswith(NOTIFICATION_PREFIX)


def _is_ours(entry: "Entry", stack: Stack) -> bool:
    return entry.get("Id") in (stack.notification_id, stack.basic_notification_id)


def _with(
    known: "NotificationConfigurationTypeDef", ours: "QueueConfigurationTypeDef", stack: Stack
) -> "NotificationConfigurationTypeDef":
    """``known`` with this entry of ours and no other of ours."""
    others = without(known, stack)
    return {**others, "QueueConfigurations": [*others.get("QueueConfigurations", []), ours]}


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


def _overlap(entry: "Entry", prefix: str, events: "Iterable[EventType]") -> bool:
    """Whether some event under ``prefix`` would match both, whatever suffix ``entry`` filters by."""
    pairs = product(map(_kind, events), map(_kind, entry.get("Events", [])))
    return _nested(prefix, _prefix(entry)) and any(_nested(*pair) for pair in pairs)


def _kind(event: str) -> str:
    return event.removesuffix("*")


def _nested(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _rules(entry: "Entry") -> dict[str, str]:
    if "Filter" not in entry or "Key" not in entry["Filter"]:
        return {}
    rules = entry["Filter"]["Key"].get("FilterRules", [])
    return {rule["Name"].lower(): rule["Value"] for rule in rules if rule["Value"]}


def _prefix(entry: "Entry") -> str:
    return _rules(entry).get("prefix", "")
