"""Policy documents: what each statement allows or denies, and how ours join others'."""

import json
import re
from pathlib import Path

from infra_scripts import policies
from infra_scripts.stack import Place
from tests.support.aws import unique_stack

PLACE = Place("aws", "eu-west-1", "111111111111")
STACK = unique_stack(bucket="b", queue="q", dead_letter_queue="d", log_group="/g")


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
        "arn:aws:s3:::b/pending/*",
        "arn:aws:s3:::b/reduced/*",
        "arn:aws:s3:::b/models/*",
        "arn:aws:s3:::b/reduced.csv",
        "arn:aws:s3:::b/reconciliation.json",
        "arn:aws:s3:::b/reports/latest.html",
        "arn:aws:s3:::b/reports/map.parquet",
    ]
    assert by_sid["SweepStore"]["Resource"] == by_sid["KeepStore"]["Resource"][:-4]
    assert "photos/*" in by_sid["List"]["Condition"]["StringLikeIfExists"]["s3:prefix"]
    assert "sqs:SendMessage" in by_sid["DeadLetters"]["Action"]  # malformed messages are moved
    reading = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}
    assert set(by_sid["Redrive"]["Action"]) == reading  # the service itself needs none of them
    assert not reading & set(by_sid["DeadLetters"]["Action"])


def test_the_longest_names_fit_a_managed_policy() -> None:
    queue = "q" * 80
    longest = unique_stack(
        bucket="b" * 63, queue=queue, dead_letter_queue=queue[:-1] + "d", log_group="/g" * 256
    )
    document = policies.service_role(longest, PLACE)
    assert len(json.dumps(document, separators=(",", ":"))) < 6144


def test_the_documentation_lists_every_statement() -> None:
    complete = unique_stack(
        weights="s3://models/vgg.h5#sha256=00", bucket_key="arn:a", queue_keys=("arn:b",)
    )
    text = (Path(__file__).parents[2] / "docs/permissions.md").read_text(encoding="utf-8")
    service = text.partition("## Whoever deploys")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", service, re.MULTILINE)
    documented = {sid: sorted(re.findall(r"`([\w:]+)`", actions)) for sid, actions in rows}
    assert documented == {
        each["Sid"]: sorted(each["Action"])
        for each in policies.service_role(complete, PLACE)["Statement"]
    }


def test_the_service_role_reads_weights_where_they_are_in_s3() -> None:
    weights = unique_stack(weights="s3://models/vgg/#16.h5#sha256=00")
    [reads] = [
        statement
        for statement in policies.service_role(weights, PLACE)["Statement"]
        if statement["Sid"] == "ReadWeights"
    ]
    assert reads["Resource"] == "arn:aws:s3:::models/vgg/#16.h5"


def test_keys_may_be_used_through_their_service_alone() -> None:
    keyed = unique_stack(bucket_key="arn:a", queue_keys=("arn:b", "arn:c"))
    document = policies.service_role(keyed, PLACE)
    by_sid = {statement["Sid"]: statement for statement in document["Statement"]}
    for sid, keys, service in (
        ("UseBucketKey", ["arn:a"], "s3"),
        ("UseQueueKeys", ["arn:b", "arn:c"], "sqs"),
    ):
        assert by_sid[sid]["Resource"] == keys
        through = {"kms:ViaService": f"{service}.eu-west-1.amazonaws.com*"}
        assert by_sid[sid]["Condition"] == {"StringLike": through}


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
