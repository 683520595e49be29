"""The bucket's settings: ours are set, and others' stay."""

import dataclasses
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra_scripts import bucket_settings
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy, plan
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


NOT_BLOCKED = dict.fromkeys(bucket_settings.NO_PUBLIC_ACCESS, False)
WITH_ACLS = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}


def settings_of(clients: Clients, bucket: str) -> dict[str, Any]:
    """What a bucket has of the settings that concern all of it; None for those that are not set."""
    found: dict[str, Any] = {}
    for name in ("public_access_block", "bucket_ownership_controls", "bucket_policy"):
        try:
            answer = getattr(clients.s3, f"get_{name}")(Bucket=bucket)
            del answer["ResponseMetadata"]
            [found[name]] = answer.values()
        except ClientError:
            found[name] = None
    return found


@pytest.mark.parametrize("explicit", [True, False])
def test_settings_of_a_bucket_in_use_are_kept_and_reported(
    clients: Clients, wanted: Stack, here: Place, explicit: bool
) -> None:
    """Others may rely on ACLs, public objects, plain HTTP or uploads of more than a day."""
    secure = dataclasses.replace(here, encrypted=True)
    create_bucket(clients, wanted.bucket, here.region)
    clients.s3.put_object(Bucket=wanted.bucket, Key="website/index.html", Body=b"theirs")
    if explicit:
        clients.s3.put_public_access_block(
            Bucket=wanted.bucket, PublicAccessBlockConfiguration=NOT_BLOCKED
        )
        clients.s3.put_bucket_ownership_controls(Bucket=wanted.bucket, OwnershipControls=WITH_ACLS)
    before = settings_of(clients, wanted.bucket)
    lines: list[str] = []
    planned = [change.describe() for change in plan(clients, wanted, secure)]
    deploy(clients, wanted, secure, say=lines.append)
    assert settings_of(clients, wanted.bucket) == before
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        clients.s3.get_bucket_lifecycle_configuration(Bucket=wanted.bucket)
    for said in (planned, lines):
        kept = {line.split("\n")[0]: line.split("kept: ")[1] for line in said if "kept: " in line}
        of = f"unchanged bucket {wanted.bucket}"
        assert kept.keys() == {
            *(f"{of}: public access", f"{of}: ownership", f"{of}: policy", f"{of}: lifecycle")
        }
        assert "aws s3api put-public-access-block" in kept[f"{of}: public access"]
        assert "BucketOwnerEnforced" in kept[f"{of}: ownership"]
        assert "FruitsTlsOnly" in kept[f"{of}: policy"]


def test_a_bucket_of_ours_that_is_in_use_has_nothing_to_report(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    stack.put("photos/a.jpg")
    changes = plan(clients, stack.stack, here)
    assert {change.action for change in changes} == {"unchanged"}
    assert not any(change.note for change in changes)
    ours = [{"Sid": "Ours", "Effect": "Deny"}]
    changed = {"Statement": [{"Sid": "Ours", "Effect": "Allow"}]}  # by somebody: it is ours to mend
    assert bucket_settings.policy(clients.s3, stack.bucket, ours).want(changed) != changed


@pytest.mark.parametrize("versions", [True, False])
def test_old_versions_that_nothing_expires_are_reported(
    clients: Clients, wanted: Stack, here: Place, versions: bool
) -> None:
    where = {"Bucket": wanted.bucket}
    create_bucket(clients, wanted.bucket, here.region)
    if versions:
        clients.s3.put_bucket_versioning(**where, VersioningConfiguration={"Status": "Enabled"})
    lifecycle = bucket_settings.lifecycle(clients.s3, wanted.bucket)
    rule = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": ""}}
    expiring = {**rule, "NoncurrentVersionExpiration": {"NoncurrentDays": 7}}
    for rules, missing in (([rule], True), ([expiring], False)):
        note = lifecycle.note({"Rules": rules})
        assert ("docs/operations.md" in note) == (versions and missing)


def test_what_is_set_explicitly_stays_even_if_the_bucket_is_empty(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    create_bucket(clients, wanted.bucket, here.region)
    clients.s3.put_bucket_ownership_controls(Bucket=wanted.bucket, OwnershipControls=WITH_ACLS)
    deploy(clients, wanted, here, say=quiet)
    found = settings_of(clients, wanted.bucket)
    assert found["bucket_ownership_controls"] == WITH_ACLS
    assert found["public_access_block"] == bucket_settings.NO_PUBLIC_ACCESS


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
