"""What is computed without AWS: policies, notifications, differences, and their wording."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as some

from infra_scripts import bucket_settings, notifications, policies
from infra_scripts.errors import Conflict, StackError
from infra_scripts.parts import Change
from infra_scripts.stack import Place
from tests.support.aws import unique_stack

PLACE = Place("aws", "eu-west-1", "111111111111")
STACK = unique_stack(bucket="b", queue="q", dead_letter_queue="d", log_group="/g")


def entry(prefix: str, **members: Any) -> dict[str, Any]:
    return {
        "Id": "theirs",
        "QueueArn": "arn:aws:sqs:eu-west-1:111111111111:theirs",
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "Prefix", "Value": prefix}]}},
    } | members


def test_the_service_role_is_least_privilege() -> None:
    statements = policies.service_role(STACK, PLACE)["Statement"]
    for statement in statements:
        assert not any("*" in action for action in statement["Action"])
        if statement["Sid"] != "QueueAge":
            resources = statement["Resource"]
            for resource in resources if isinstance(resources, list) else [resources]:
                assert resource.startswith(
                    (
                        "arn:aws:s3:::b",
                        "arn:aws:sqs:eu-west-1:111111111111:",
                        "arn:aws:logs:eu-west-1:111111111111:log-group:/g",
                    )
                )
    by_sid = {statement["Sid"]: statement for statement in statements}
    assert by_sid["ReadPhotos"]["Resource"] == "arn:aws:s3:::b/photos/*"
    assert by_sid["KeepStore"]["Resource"] == [
        "arn:aws:s3:::b/features/*",
        "arn:aws:s3:::b/rejects/*",
        "arn:aws:s3:::b/reduced/*",
        "arn:aws:s3:::b/models/*",
        "arn:aws:s3:::b/reduced.csv",
    ]
    assert "photos/*" in by_sid["List"]["Condition"]["StringLikeIfExists"]["s3:prefix"]
    assert "sqs:SendMessage" not in by_sid["DeadLetters"]["Action"]
    assert len(json.dumps(statements, separators=(",", ":"))) < 2048  # fits any inline policy


def test_the_service_role_reads_weights_where_they_are_in_s3() -> None:
    weights = unique_stack(weights="s3://models/vgg.h5#sha256=00")
    [reads] = [
        statement
        for statement in policies.service_role(weights, PLACE)["Statement"]
        if statement["Sid"] == "ReadWeights"
    ]
    assert reads["Resource"] == "arn:aws:s3:::models/vgg.h5"


def test_tls_is_insisted_on_only_where_it_is_used() -> None:
    plain = Place("aws", "eu-west-1", "111111111111", encrypted=False)
    [statement] = policies.bucket_statements(STACK, PLACE)
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert policies.bucket_statements(STACK, plain) == []
    assert [each["Effect"] for each in policies.queue_statements(STACK, plain)] == ["Allow"]
    assert policies.merge(None, []) is None


def test_a_statement_in_another_form_is_left_as_it_is() -> None:
    ours = policies.bucket_statements(STACK, PLACE)
    spelt = json.loads(json.dumps(ours[0]))
    spelt["Action"] = [spelt["Action"]]
    spelt["Resource"].reverse()
    document = {"Version": "2012-10-17", "Statement": [spelt]}
    assert policies.merge(document, ours) is document
    alone = {"Statement": spelt}
    assert policies.merge(alone, ours) is alone
    assert policies.merge(alone, []) is alone
    spelt["Effect"] = "Allow"
    assert policies.merge(document, ours) == {"Version": "2012-10-17", "Statement": ours}


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


def test_our_entry_is_known_in_s3s_own_spelling() -> None:
    [ours] = notifications.want(None, STACK, PLACE)["QueueConfigurations"]
    ours["Events"].reverse()
    ours["Filter"]["Key"]["FilterRules"] = [{"Name": "Prefix", "Value": "photos/"}]
    before = {"QueueConfigurations": [ours]}
    assert notifications.want(before, STACK, PLACE) is before


@pytest.mark.parametrize("kind", ["TopicConfigurations", "LambdaFunctionConfigurations"])
def test_a_suffix_or_another_kind_of_destination_overlaps_too(kind: str) -> None:
    rules = [{"Name": "Prefix", "Value": "photos/"}, {"Name": "Suffix", "Value": ".csv"}]
    theirs = entry("", Filter={"Key": {"FilterRules": rules}})
    with pytest.raises(Conflict, match="'photos/'"):
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
                said = "Unable to validate the following destination configurations"
                code = {"Error": {"Code": "InvalidArgument", "Message": said}}
                raise ClientError(code, "PutBucketNotificationConfiguration")

    s3 = SlowToSee()
    monkeypatch.setattr(notifications.time, "sleep", lambda seconds: None)
    notifications.write(s3, "b", {})
    assert s3.calls == 3
    monkeypatch.setattr(notifications, "POLICY_DELAY_SECONDS", -1)
    s3.calls = 0
    with pytest.raises(ClientError, match="Unable to validate"):
        notifications.write(s3, "b", {})


def test_old_style_lifecycle_rules_are_not_mixed_with_new() -> None:
    want = bucket_settings.lifecycle(None, "b").want
    old = {"ID": "theirs", "Prefix": "tmp/", "Status": "Enabled", "Expiration": {"Days": 1}}
    before = {"Rules": [old], "TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}
    after = want(before)
    assert after["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    assert after["Rules"][0] == old
    assert after["Rules"][1]["Prefix"] == ""
    assert "Filter" not in after["Rules"][1]
    assert want(after) is after


def test_names_that_cannot_work_are_refused() -> None:
    with pytest.raises(StackError, match="give the dead letters a queue of their own"):
        unique_stack(queue="q", dead_letter_queue="q")
    with pytest.raises(StackError, match="my photos/"):
        unique_stack(photos_prefix="my photos/")


def test_a_change_is_told_in_its_members() -> None:
    change = Change(
        "queue q", "update", {"a": 1, "b": {"c": [1], "d": 2}}, {"b": {"c": [2], "d": 2}}
    )
    assert change.describe().splitlines() == [
        "update    queue q",
        "          a: 1 -> none",
        "          b.c: [1] -> [2]",
    ]
    assert Change("queue q", "create", None, {}).describe(done=True) == "created   queue q"
    assert Change("queue q", "unchanged", 1, 1).describe(done=True) == "unchanged queue q"
