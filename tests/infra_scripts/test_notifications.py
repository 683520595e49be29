"""Notifications: our entry beside other people's, and the events that it leads to."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as some

from infra_scripts import notifications
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy, destroy, plan
from infra_scripts.errors import Conflict
from infra_scripts.stack import Place, Stack
from tests.support.aws import DeployedStack, unique_stack
from tests.support.watched import actions, create_bucket, quiet, recorded

PLACE = Place("aws", "eu-west-1", "111111111111")
STACK = unique_stack(bucket="b", queue="q")


def entry(prefix: str, **members: Any) -> dict[str, Any]:
    return {
        "Id": "theirs",
        "QueueArn": "arn:aws:sqs:eu-west-1:111111111111:theirs",
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "Prefix", "Value": prefix}]}},
    } | members


prefixes = some.sampled_from(["", "photos/", "photos/a/", "phot", "other/", "features/"])
kinds = some.sampled_from(["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete", "s3:ObjectTagging:*"])


@given(some.lists(some.tuples(prefixes, kinds), max_size=4))
def test_merging_keeps_the_others_or_refuses(others: list[tuple[str, str]]) -> None:
    theirs = [
        entry(prefix, Id=str(number), Events=[kind]) for number, (prefix, kind) in enumerate(others)
    ]
    before = {"QueueConfigurations": theirs, "EventBridgeConfiguration": {}}
    overlaps = any(
        ("photos/".startswith(prefix) or prefix.startswith("photos/"))
        and not kind.startswith("s3:ObjectTagging")
        for prefix, kind in others
    )
    if overlaps:
        with pytest.raises(Conflict):
            notifications.want(before, STACK, PLACE)
        return
    after = notifications.want(before, STACK, PLACE)
    assert after["QueueConfigurations"][:-1] == theirs
    assert after["EventBridgeConfiguration"] == {}
    assert notifications.want(after, STACK, PLACE) is after
    assert notifications.without(after, STACK).get("QueueConfigurations", []) == theirs


def test_our_entry_is_recognised_as_s3_spells_it() -> None:
    [ours] = notifications.want(None, STACK, PLACE)["QueueConfigurations"]
    ours["Events"].reverse()
    ours["Filter"]["Key"]["FilterRules"] = [{"Name": "Prefix", "Value": "photos/"}]
    before = {"QueueConfigurations": [ours]}
    assert notifications.want(before, STACK, PLACE) is before


@pytest.mark.parametrize(
    ("kind", "arn"),
    [
        ("TopicConfigurations", "TopicArn"),
        ("LambdaFunctionConfigurations", "LambdaFunctionArn"),
    ],
)
def test_a_suffix_or_another_kind_of_destination_overlaps_too(kind: str, arn: str) -> None:
    rules = [{"Name": "Prefix", "Value": "photos/"}, {"Name": "Suffix", "Value": ".csv"}]
    theirs = entry("", Filter={"Key": {"FilterRules": rules}}) | {arn: "arn:aws:theirs"}
    with pytest.raises(Conflict, match="'photos/' to arn:aws:theirs"):
        notifications.want({kind: [theirs]}, STACK, PLACE)


def test_the_filter_is_the_photos_prefix() -> None:
    """It is never empty: a notification for every key would announce the store's own files."""
    pears = unique_stack(photos_prefix="pears/")
    [ours] = notifications.want(None, pears, PLACE)["QueueConfigurations"]
    assert ours["Filter"] == {"Key": {"FilterRules": [{"Name": "prefix", "Value": "pears/"}]}}
    with pytest.raises(ValueError, match="store's folders"):
        unique_stack(photos_prefix="")


def test_a_queue_policy_that_s3_does_not_see_yet_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class SlowToSee:
        calls = 0

        def put_bucket_notification_configuration(self, **_: Any) -> None:
            self.calls += 1
            if self.calls < 3:
                message = "Unable to validate the following destination configurations"
                answer = {"Error": {"Code": "InvalidArgument", "Message": message}}
                raise ClientError(answer, "PutBucketNotificationConfiguration")

    s3 = SlowToSee()
    monkeypatch.setattr(notifications.time, "sleep", lambda seconds: None)
    notifications.write(s3, "b", {})
    assert s3.calls == 3
    monkeypatch.setattr(notifications, "POLICY_DELAY_SECONDS", -1)
    s3.calls = 0
    with pytest.raises(ClientError, match="Unable to validate"):
        notifications.write(s3, "b", {})


def test_an_overlapping_notification_is_named_and_nothing_is_changed(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    where = {"Bucket": wanted.bucket}
    taken = here.queue_arn("somebody-elses")
    create_bucket(clients, wanted.bucket, here.region)
    theirs = {"Id": "theirs", "QueueArn": taken, "Events": ["s3:ObjectCreated:Put"]}
    clients.s3.put_bucket_notification_configuration(
        **where, NotificationConfiguration={"QueueConfigurations": [theirs]}
    )
    with recorded(clients) as called, pytest.raises(Conflict, match=f"{taken}.*'theirs'"):
        deploy(clients, wanted, here, say=quiet)
    assert called == []


def test_photos_make_events_and_nothing_else_does(stack: DeployedStack) -> None:
    stack.put("photos/apple/1.jpg", b"one")
    stack.put("photos/apple/1.jpg", b"two")
    stack.put("features/part-1.parquet")
    stack.put("photo.jpg")
    stack.s3.delete_object(Bucket=stack.bucket, Key="features/part-1.parquet")
    stack.s3.delete_object(Bucket=stack.bucket, Key="photos/apple/1.jpg")
    assert stack.events() == [
        ("ObjectCreated:Put", "photos/apple/1.jpg"),
        ("ObjectCreated:Put", "photos/apple/1.jpg"),
        ("ObjectRemoved:Delete", "photos/apple/1.jpg"),
    ]


def test_stacks_share_a_bucket(clients: Clients, stack: DeployedStack, here: Place) -> None:
    other = unique_stack(bucket=stack.bucket, photos_prefix="more/")
    deploy(clients, other, here, say=quiet)
    stack.drain()
    stack.put("photos/a.jpg")
    stack.put("more/b.jpg")
    assert stack.events() == [("ObjectCreated:Put", "photos/a.jpg")]
    destroy(clients, other, say=quiet)
    assert actions(plan(clients, stack.stack, here)) == {"unchanged"}
