"""The resources that the embedded AWS' CloudFormation makes, and those that it does not."""

import dataclasses
import json

from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy
from infra_scripts.embedded import resources
from infra_scripts.release import Release
from infra_scripts.stack import Alarms, Instance, Place
from infra_scripts.template.document import document
from tests.support.aws import DeployedStack, unique_stack
from tests.support.watched import quiet


def test_what_is_declared_and_not_made_there() -> None:
    from moto.cloudformation.parsing import NULL_MODELS, get_model_map

    stack = unique_stack(
        instance=Instance(type="t2.xlarge"), alarms=Alarms(email="somebody@example.com")
    )
    whole = document(stack, release=Release(key="releases/0.tar.gz", sha256="0" * 64))
    declared = {each["Type"] for each in whole["Resources"].values()}
    by_moto = {*get_model_map(), *NULL_MODELS}
    ours = {"AWS::SQS::QueueInlinePolicy", "AWS::S3::BucketPolicy"}
    of_no_effect = {"AWS::EC2::Instance", "AWS::EC2::LaunchTemplate", *NULL_MODELS}  # by moto
    unmade = (declared - by_moto - ours) | (declared & of_no_effect)
    assert unmade == set(resources.UNKNOWN)


def test_policies_and_settings_are_in_effect(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    secure = dataclasses.replace(here, encrypted=True)
    deploy(clients, stack.stack, secure, say=quiet)
    for url in (stack.queue_url, stack.dead_letter_queue_url):
        answer = stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        sids = [each["Sid"] for each in json.loads(answer["Attributes"]["Policy"])["Statement"]]
        assert "FruitsTlsOnly" in sids
    policy = json.loads(stack.s3.get_bucket_policy(Bucket=stack.bucket)["Policy"])
    assert [each["Sid"] for each in policy["Statement"]] == ["FruitsTlsOnly"]
    rules = stack.s3.get_bucket_lifecycle_configuration(Bucket=stack.bucket)["Rules"]
    by_id = {rule["ID"]: rule for rule in rules}
    abort = by_id["fruits-abort-unfinished-uploads"]
    assert abort["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert by_id["fruits-noncurrent-features"]["Filter"] == {"Prefix": "features/"}
    deploy(clients, stack.stack, here, say=quiet)
    answer = stack.sqs.get_queue_attributes(
        QueueUrl=stack.dead_letter_queue_url, AttributeNames=["All"]
    )
    assert "Policy" not in answer["Attributes"]
