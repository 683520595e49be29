"""The topic that the alarms notify, its only subscriber, and the key that encrypts what it says.

The key costs a dollar a month. SNS' own (``alias/aws/sns``) is free, but has a policy that nobody can
change and that does not let CloudWatch publish.
"""

from infra_scripts.policies import VERSION
from infra_scripts.stack import Stack
from infra_scripts.template.resource import Resource, ref, resource


def resources(stack: Stack) -> dict[str, Resource]:
    """Key, topic and its policy; without an address nobody subscribes, but anybody can later.

    Who is named has to confirm the message that SNS sends.
    """
    topic: Resource = {"KmsMasterKeyId": ref("AlarmKey")}
    if stack.alarms.email:
        topic["Subscription"] = [{"Protocol": "email", "Endpoint": stack.alarms.email}]
    publish = _by_cloudwatch(["sns:Publish"]) | {"Resource": ref("AlarmTopic")}
    return {
        "AlarmKey": _key(stack),
        "AlarmTopic": resource("AWS::SNS::Topic", "Where alarms are announced.", topic),
        "AlarmTopicPolicy": resource(
            "AWS::SNS::TopicInlinePolicy",
            "This account's alarms may be announced there, and nothing else.",
            {
                "TopicArn": ref("AlarmTopic"),
                "PolicyDocument": {"Version": VERSION, "Statement": [publish]},
            },
        ),
    }


def _key(stack: Stack) -> Resource:
    owner = {
        "Sid": "Account",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"},
        "Action": "kms:*",
        "Resource": "*",  # in a key's policy that is the key
    }
    encrypt = _by_cloudwatch(["kms:Decrypt", "kms:GenerateDataKey*"]) | {"Resource": "*"}
    return resource(
        "AWS::KMS::Key",
        "Encrypts what the topic says, with a policy that lets CloudWatch publish.",
        {
            "Description": f"Encrypts the alarms of {stack.name}",
            "EnableKeyRotation": True,
            "PendingWindowInDays": 7,
            "KeyPolicy": {"Version": VERSION, "Statement": [owner, encrypt]},
        },
        deleted="Delete",
        replaced="Delete",
    )


def _by_cloudwatch(actions: list[str]) -> Resource:
    return {
        "Sid": "CloudWatchAlarms",
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": actions,
        "Condition": {"StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")}},
    }
