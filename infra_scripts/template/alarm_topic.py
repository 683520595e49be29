"""The topic that the alarms notify, its only subscriber, and the key that encrypts what it says.

The key costs a dollar a month. SNS' own (``alias/aws/sns``) is free, but has a policy that nobody can
change and that does not let CloudWatch publish.
"""

from typing import Any

from infra_scripts.stack import Stack

Resource = dict[str, Any]


def resources(stack: Stack) -> dict[str, Resource]:
    """Key, topic and its policy; without an address nobody subscribes, but anybody can later.

    Who is named has to confirm the message that SNS sends.
    """
    topic: Resource = {"KmsMasterKeyId": {"Ref": "AlarmKey"}}
    if stack.alarms.email:
        topic["Subscription"] = [{"Protocol": "email", "Endpoint": stack.alarms.email}]
    publish = {
        "Sid": "CloudWatchAlarms",
        **_by_cloudwatch(["sns:Publish"]),
        "Resource": {"Ref": "AlarmTopic"},
    }
    return {
        "AlarmKey": _key(stack),
        "AlarmTopic": {"Type": "AWS::SNS::Topic", "Properties": topic},
        "AlarmTopicPolicy": {
            "Type": "AWS::SNS::TopicInlinePolicy",
            "Properties": {
                "TopicArn": {"Ref": "AlarmTopic"},
                "PolicyDocument": {"Version": "2012-10-17", "Statement": [publish]},
            },
        },
    }


def _key(stack: Stack) -> Resource:
    owner = {
        "Sid": "Account",
        "Effect": "Allow",
        "Principal": {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}},
        "Action": "kms:*",
        "Resource": "*",
    }
    encrypt = {
        "Sid": "CloudWatchAlarms",
        **_by_cloudwatch(["kms:Decrypt", "kms:GenerateDataKey*"]),
        "Resource": "*",  # in a key's policy that is the key
    }
    return {
        "Type": "AWS::KMS::Key",
        "DeletionPolicy": "Delete",
        "UpdateReplacePolicy": "Delete",
        "Properties": {
            "Description": f"Encrypts the alarms of {stack.name}",
            "EnableKeyRotation": True,
            "PendingWindowInDays": 7,
            "KeyPolicy": {"Version": "2012-10-17", "Statement": [owner, encrypt]},
        },
    }


def _by_cloudwatch(actions: list[str]) -> Resource:
    return {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": actions,
        "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }
