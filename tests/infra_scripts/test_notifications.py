"""Notifications: our entry beside other people's, and the events that it leads to."""

from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as some

from infra_scripts import notifications
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy, plan
from infra_scripts.destruction import messages
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.errors import Conflict, StackError
from infra_scripts.parts import Change
from infra_scripts.stack import EVENTS, MORE_EVENTS, Place, Stack
from tests.support.aws import DeployedStack, unique_stack
from tests.support.endpoints import Request
from tests.support.forwarded import Refusal, s3_refuses
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
kinds = some.sampled_from(
    [
        *("s3:ObjectCreated:*", "s3:ObjectRemoved:Delete", "s3:ObjectTagging:*"),
        *("s3:ObjectRestore:*", "s3:LifecycleExpiration:Delete", "s3:ObjectRestore:Post"),
    ]
)


@given(some.lists(some.tuples(prefixes, kinds), max_size=4))
def test_merging_keeps_the_others_or_refuses(others: list[tuple[str, str]]) -> None:
    theirs = [
        entry(prefix, Id=str(number), Events=[kind]) for number, (prefix, kind) in enumerate(others)
    ]
    before = {"QueueConfigurations": theirs, "EventBridgeConfiguration": {}}
    overlaps = any(
        ("photos/".startswith(prefix) or prefix.startswith("photos/"))
        and kind.startswith(("s3:ObjectCreated", "s3:ObjectRemoved"))
        for prefix, kind in others
    )
    if overlaps:
        with pytest.raises(Conflict):
            notifications.want(before, STACK, PLACE)
        return
    after = notifications.want(before, STACK, PLACE)
    assert after["QueueConfigurations"][:-1] == theirs
    assert after["EventBridgeConfiguration"] == {}
    wanted = set(after["QueueConfigurations"][-1]["Events"])
    taken = {kind for prefix, kind in others if "photos/".startswith(prefix[:7])}
    assert wanted == {
        *EVENTS,
        *({"s3:LifecycleExpiration:*"} - {f"{kind[:-6]}*" for kind in taken}),
        *({"s3:ObjectRestore:Completed"} - {f"{kind[:-1]}Completed" for kind in taken}),
    }
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


def said_of_notifications(changes: list[Change]) -> list[str]:
    """What deploy and plan say of them, line by line."""
    [change] = [each for each in changes if ": notifications to" in each.part]
    return change.describe(done=True).splitlines()


@pytest.mark.parametrize(
    ("status", "code"), [(400, "InvalidArgument"), (400, "MalformedXML"), (501, "NotImplemented")]
)
def test_events_that_s3_does_not_offer_are_named_and_not_subscribed(
    aws: EmbeddedAws, wanted: Stack, status: int, code: str
) -> None:
    def refuse(request: Request) -> Refusal | None:
        names_them = (
            b"s3:LifecycleExpiration" in request.body or b"s3:ObjectRestore" in request.body
        )
        return (status, code) if names_them else None

    with s3_refuses(refuse), closing(Clients.connect()) as clients:
        here = clients.place()
        created, note = said_of_notifications(deploy(clients, wanted, here, say=quiet))
        assert created.startswith("created ")
        assert "not subscribed: s3:LifecycleExpiration:*, s3:ObjectRestore:Completed" in note
        assert "the daily reconciliation finds such changes" in note
        assert actions(changes := plan(clients, wanted, here)) == {"unchanged"}
        assert said_of_notifications(changes)[1:] == [note]
        with recorded(clients) as called:
            assert said_of_notifications(deploy(clients, wanted, here, say=quiet))[1:] == [note]
        assert called == ["CreateChangeSet", "DeleteChangeSet"]  # how CloudFormation compares
        clients.s3.put_object(Bucket=wanted.bucket, Key="photos/a.jpg", Body=b"a")
        assert messages(clients, wanted) == {wanted.queue: 2}  # and S3's test event

    # It offers them now; what was refused is asked for again once the entry is removed.
    with closing(Clients.connect()) as clients:
        entries = notifications.read(clients.s3, wanted.bucket)["QueueConfigurations"]
        assert repr(entries[0]["Id"]) in note
        clients.s3.put_bucket_notification_configuration(
            Bucket=wanted.bucket, NotificationConfiguration={}
        )
        assert len(said_of_notifications(deploy(clients, wanted, here, say=quiet))) == 1
        [ours] = notifications.read(clients.s3, wanted.bucket)["QueueConfigurations"]
        assert set(ours["Events"]) == {*EVENTS, *MORE_EVENTS}


def test_a_subscription_of_before_gets_the_other_events(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    [ours] = notifications.read(stack.s3, stack.bucket)["QueueConfigurations"]
    former = {**ours, "Events": list(EVENTS)}
    stack.s3.put_bucket_notification_configuration(
        Bucket=stack.bucket, NotificationConfiguration={"QueueConfigurations": [former]}
    )
    assert actions(plan(clients, stack.stack, here)) == {"unchanged", "update"}
    deploy(clients, stack.stack, here, say=quiet)
    [ours] = notifications.read(stack.s3, stack.bucket)["QueueConfigurations"]
    assert set(ours["Events"]) == {*EVENTS, *MORE_EVENTS}
    assert actions(plan(clients, stack.stack, here)) == {"unchanged"}


def test_any_other_refusal_is_an_error(aws: EmbeddedAws, wanted: Stack) -> None:
    def refuse(request: Request) -> Refusal | None:
        writes = request.method == "PUT" and request.target.endswith("?notification")
        return (400, "InvalidArgument") if writes else None

    with s3_refuses(refuse), closing(Clients.connect()) as clients:
        here = clients.place()
        with pytest.raises(StackError, match="InvalidArgument"):
            deploy(clients, wanted, here, say=quiet)


def test_what_others_have_of_the_further_events_is_left_to_them(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    taken = here.queue_arn(stack.stack.dead_letter_queue)
    theirs = {"Id": "theirs", "QueueArn": taken, "Events": ["s3:ObjectRestore:*"]}
    stack.s3.put_bucket_notification_configuration(
        Bucket=stack.bucket, NotificationConfiguration={"QueueConfigurations": [theirs]}
    )
    _, *notes = said_of_notifications(deploy(clients, stack.stack, here, say=quiet))
    [note] = [line for line in notes if "not subscribed" in line]
    assert "not subscribed: s3:ObjectRestore:Completed (another configuration has them)" in note
    assert actions(plan(clients, stack.stack, here)) == {"unchanged"}


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


def test_two_stacks_do_not_share_a_bucket(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    other = unique_stack(bucket=stack.bucket, photos_prefix="more/")
    with recorded(clients) as called, pytest.raises(Conflict, match=f"{stack.stack.queue}: choose"):
        deploy(clients, other, here, say=quiet)
    assert called == []
