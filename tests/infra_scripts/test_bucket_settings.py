"""The bucket's settings: ours are set, and others' stay."""

import dataclasses
import json

from infra_scripts import bucket_settings
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy
from infra_scripts.stack import Place, Stack
from tests.support.aws import DeployedStack
from tests.support.watched import create_bucket, quiet


def test_public_access_ownership_and_encryption(stack: DeployedStack) -> None:
    s3, where = stack.s3, {"Bucket": stack.bucket}
    blocked = s3.get_public_access_block(**where)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    assert len(blocked) == 4
    [ownership] = s3.get_bucket_ownership_controls(**where)["OwnershipControls"]["Rules"]
    assert ownership == {"ObjectOwnership": "BucketOwnerEnforced"}
    [rule] = s3.get_bucket_encryption(**where)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_keeps_an_encryption_that_is_set_already(stack: DeployedStack) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    stack.s3.put_bucket_encryption(
        Bucket=stack.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}
    )
    assert bucket_settings.encryption(stack.s3, stack.bucket).compare().action == "unchanged"


def test_keeps_other_statements_of_an_adopted_bucket(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    where = {"Bucket": wanted.bucket}
    statement = {
        "Sid": "Theirs",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{wanted.bucket}/invoices/*",
    }
    create_bucket(clients, wanted.bucket, here.region)
    clients.s3.put_bucket_policy(**where, Policy=json.dumps({"Statement": statement}))
    deploy(clients, wanted, dataclasses.replace(here, encrypted=True), say=quiet)
    policy = json.loads(clients.s3.get_bucket_policy(**where)["Policy"])
    assert policy["Statement"][0] == statement
    assert [each["Sid"] for each in policy["Statement"]] == ["Theirs", "FruitsTlsOnly"]


def test_old_style_lifecycle_rules_are_not_mixed_with_new(clients: Clients) -> None:
    want = bucket_settings.lifecycle(clients.s3, "b").want
    old = {"ID": "theirs", "Prefix": "tmp/", "Status": "Enabled", "Expiration": {"Days": 1}}
    before = {"Rules": [old], "TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}
    after = want(before)
    assert after["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    assert after["Rules"][0] == old
    assert after["Rules"][1]["Prefix"] == ""
    assert "Filter" not in after["Rules"][1]
    assert want(after) is after


def test_what_s3_stores_beside_the_rules_is_written_back(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    requests: list[dict[str, object]] = []

    def note(params: dict[str, object], **_: object) -> None:
        requests.append(params)

    create_bucket(clients, wanted.bucket, here.region)
    part = bucket_settings.lifecycle(clients.s3, wanted.bucket)
    after = part.want(
        {"Rules": [], "TransitionDefaultMinimumObjectSize": "all_storage_classes_128K"}
    )
    event = "provide-client-params.s3.PutBucketLifecycleConfiguration"
    clients.s3.meta.events.register(event, note)
    try:
        part.write(None, after)
    finally:
        clients.s3.meta.events.unregister(event, note)
    assert requests[0]["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
