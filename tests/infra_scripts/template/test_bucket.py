"""The bucket in the template: closed, encrypted, kept; and no rule that could delete a photo."""

from dataclasses import replace

from common.layout import BucketLayout
from infra_scripts.template.bucket import resources
from infra_scripts.template.resource import ANYWHERE
from tests.support.aws import unique_stack


def test_a_new_bucket_is_closed_and_encrypted() -> None:
    stack = unique_stack()
    properties = resources(stack, ANYWHERE)["Bucket"]["Properties"]
    assert properties["BucketName"] == stack.bucket
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    [owner] = properties["OwnershipControls"]["Rules"]
    assert owner == {"ObjectOwnership": "BucketOwnerEnforced"}
    [encryption] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


def test_what_deploy_merges_or_others_decide_is_not_declared() -> None:
    properties = resources(unique_stack(), ANYWHERE)["Bucket"]["Properties"]
    assert not {"NotificationConfiguration", "VersioningConfiguration"} & properties.keys()


def test_bucket_and_policy_outlive_the_stack() -> None:
    made = resources(unique_stack(), ANYWHERE)
    assert list(made) == ["Bucket", "BucketPolicy"]
    for each in made.values():
        assert each["DeletionPolicy"] == each["UpdateReplacePolicy"] == "Retain"
    assert list(resources(unique_stack(), replace(ANYWHERE, encrypted=False))) == ["Bucket"]


def test_the_lifecycle_deletes_only_unfinished_uploads_and_old_versions_of_the_store() -> None:
    layout = BucketLayout("b", "photos/", "made/")
    stack = replace(unique_stack(), layout=layout)
    properties = resources(stack, ANYWHERE)["Bucket"]["Properties"]
    abort, *others = properties["LifecycleConfiguration"]["Rules"]
    assert abort["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert "Prefix" not in abort  # the photos' uploads too
    assert {rule["Prefix"] for rule in others} == {
        *("made/features/", "made/rejects/", "made/pending/", "made/reduced/", "made/models/"),
        *("made/reduced.csv", "made/reconciliation.json"),
        *("made/reports/latest.html", "made/reports/map.parquet"),
    }
    deleting = {"NoncurrentVersionExpiration", "ExpiredObjectDeleteMarker"}
    for rule in others:
        assert rule.keys() - {"Id", "Status", "Prefix"} == deleting
    ids = [rule["Id"] for rule in (abort, *others)]
    assert len(set(ids)) == len(ids) == 10
