"""The deployer's policy: what whoever runs ``plan``, ``deploy`` and ``destroy`` may do, and no more.

CloudFormation acts with the permissions of its caller, so most of it is for CloudFormation: for each
type of resource in the template what its handlers need, as the type's schema lists it.
"""

from infra_scripts.policies import VERSION, Document
from infra_scripts.stack import Place, Stack

# Names that CloudFormation makes up begin with the stack's name, cut off where a service has a limit.
_LEADING = 24

# For what CloudFormation does not tag as a stack's, as the schemas of the types say.
_THROUGH_STACKS = {"ForAnyValue:StringLike": {"aws:CalledVia": ["cloudformation.amazonaws.com*"]}}


def policy(stack: Stack, place: Place) -> Document:
    """The whole policy, as a document."""
    statements = [
        *_stack(stack, place),
        *_bucket(stack, place),
        *_queues(stack, place),
        *_logs(stack, place),
        *_role(stack, place),
        *_machine(stack, place),
        *_watch(stack, place),
    ]
    return {"Version": VERSION, "Statement": statements}


def _stack(stack: Stack, place: Place) -> list[Document]:
    actions = [
        "cloudformation:CreateChangeSet",
        "cloudformation:DeleteChangeSet",
        "cloudformation:DeleteStack",
        "cloudformation:DescribeChangeSet",
        "cloudformation:DescribeStackEvents",
        "cloudformation:DescribeStacks",
        "cloudformation:ExecuteChangeSet",
        "cloudformation:ListStackResources",
    ]
    return [_allow("Stack", actions, _arn(place, "cloudformation", f"stack/{stack.name}/*"))]


def _bucket(stack: Stack, place: Place) -> list[Document]:
    bucket = place.bucket_arn(stack.bucket)
    settings = [
        *(f"s3:{verb}EncryptionConfiguration" for verb in ("Get", "Put")),
        *(f"s3:{verb}LifecycleConfiguration" for verb in ("Get", "Put")),
        *(f"s3:{verb}BucketNotification" for verb in ("Get", "Put")),
        *(f"s3:{verb}BucketOwnershipControls" for verb in ("Get", "Put")),
        *(f"s3:{verb}BucketPublicAccessBlock" for verb in ("Get", "Put")),
        *(f"s3:{verb}BucketPolicy" for verb in ("Get", "Put")),
        *(f"s3:{verb}BucketTagging" for verb in ("Get", "Put")),
    ]
    read = [
        *("s3:GetAccelerateConfiguration", "s3:GetAnalyticsConfiguration", "s3:GetBucketAbac"),
        *("s3:GetBucketCORS", "s3:GetBucketLogging", "s3:GetBucketMetadataTableConfiguration"),
        *("s3:GetBucketObjectLockConfiguration", "s3:GetBucketVersioning", "s3:GetBucketWebsite"),
        *("s3:GetIntelligentTieringConfiguration", "s3:GetInventoryConfiguration"),
        *("s3:GetMetricsConfiguration", "s3:GetReplicationConfiguration", "s3:ListTagsForResource"),
    ]
    releases = place.bucket_arn(f"{stack.bucket}/{stack.layout.releases}*")
    releasing = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]  # old ones are deleted
    return [
        _allow("MakeBucket", ["s3:CreateBucket", "s3:ListBucket", *settings], bucket),
        # If the first deployment fails. S3 deletes no bucket that has something in it.
        _allow("DeleteBucket", ["s3:DeleteBucket", "s3:DeleteBucketPolicy"], bucket),
        # CloudFormation reads all that a bucket can have, to tell what has drifted.
        _allow("ReadBucket", read, bucket),
        _allow("KeepReleases", releasing, releases),
        # Of whoever may `destroy --delete-data`; everybody else does without these two.
        _allow("DeleteData", ["s3:AbortMultipartUpload", "s3:DeleteObjectVersion"], f"{bucket}/*"),
        _allow("FindData", ["s3:ListBucketMultipartUploads", "s3:ListBucketVersions"], bucket),
    ]


def _queues(stack: Stack, place: Place) -> list[Document]:
    names = (
        "CreateQueue",
        "DeleteQueue",
        "GetQueueAttributes",
        "GetQueueUrl",
        "SetQueueAttributes",
    )
    tags = ("ListQueueTags", "TagQueue", "UntagQueue")
    queues = [place.queue_arn(each) for each in (stack.queue, stack.dead_letter_queue)]
    return [_allow("MakeQueues", [f"sqs:{name}" for name in (*names, *tags)], queues)]


def _logs(stack: Stack, place: Place) -> list[Document]:
    group = place.log_group_arn(stack.log_group)
    make = ("CreateLogGroup", "DeleteLogGroup", "PutRetentionPolicy", "DeleteRetentionPolicy")
    read = ("GetDataProtectionPolicy", "DescribeIndexPolicies")
    tags = ("ListTagsForResource", "TagResource", "UntagResource")
    # None of these can be restricted to a group; of queries everybody sees and changes all.
    everywhere = ("DescribeLogGroups", "DescribeResourcePolicies")
    queries = ("DeleteQueryDefinition", "DescribeQueryDefinitions", "PutQueryDefinition")
    return [
        _allow("MakeLogGroup", [f"logs:{name}" for name in (*make, *read)], f"{group}:*"),
        _allow("TagLogGroup", [f"logs:{name}" for name in tags], group),
        _allow("FindLogs", [f"logs:{name}" for name in (*everywhere, *queries)], "*"),
    ]


def _role(stack: Stack, place: Place) -> list[Document]:
    role = f"arn:{place.partition}:iam::{place.account}:role/{_leading(stack)}*"
    profile = role.replace(":role/", ":instance-profile/")
    make = [
        *("CreateRole", "DeleteRole", "DeleteRolePolicy", "GetRole", "GetRolePolicy"),
        *("ListAttachedRolePolicies", "ListRolePolicies", "PutRolePolicy", "TagRole", "UntagRole"),
        *("UpdateAssumeRolePolicy", "UpdateRole", "UpdateRoleDescription"),
    ]
    carry = [
        *("AddRoleToInstanceProfile", "CreateInstanceProfile", "DeleteInstanceProfile"),
        *("GetInstanceProfile", "RemoveRoleFromInstanceProfile"),
    ]
    to_ec2 = {"StringLike": {"iam:PassedToService": "ec2.amazonaws.com*"}}  # in China .com.cn
    return [
        _allow("MakeRole", [f"iam:{name}" for name in make], role),
        _allow("MakeProfile", [f"iam:{name}" for name in carry], profile),
        _allow("PassRole", ["iam:PassRole"], role) | {"Condition": to_ec2},
    ]


def _machine(stack: Stack, place: Place) -> list[Document]:
    """Without an instance there is none of it."""
    if not stack.instance.type:
        return []
    describe = [
        *("IamInstanceProfileAssociations", "InstanceAttribute", "InstanceCreditSpecifications"),
        *("Instances", "LaunchTemplates", "LaunchTemplateVersions", "NetworkInterfaces"),
        *("SecurityGroups", "Subnets", "Volumes", "Vpcs"),
    ]
    make = [
        *("CreateLaunchTemplate", "CreateLaunchTemplateVersion", "CreateSecurityGroup"),
        *("CreateTags", "RunInstances"),
    ]
    change = [
        *("AssociateIamInstanceProfile", "AuthorizeSecurityGroupEgress"),
        *("AuthorizeSecurityGroupIngress", "DeleteSecurityGroup", "DeleteTags"),
        *("DisassociateIamInstanceProfile", "ModifyInstanceAttribute"),
        *("ModifyInstanceCreditSpecification", "ModifyInstanceMaintenanceOptions"),
        *("ModifyInstanceMetadataOptions", "MonitorInstances"),
        *("ReplaceIamInstanceProfileAssociation", "RevokeSecurityGroupEgress"),
        *("RevokeSecurityGroupIngress", "StartInstances", "StopInstances", "TerminateInstances"),
        *("UnmonitorInstances", "UpdateSecurityGroupRuleDescriptionsEgress"),
        "UpdateSecurityGroupRuleDescriptionsIngress",
    ]
    here = {"StringEquals": {"aws:RequestedRegion": place.region}}
    ours = {"StringEquals": {"aws:ResourceTag/aws:cloudformation:stack-name": stack.name}}
    templates = _arn(place, "ec2", "launch-template/*")
    images = f"arn:{place.partition}:ssm:{place.region}::parameter/aws/service/canonical/*"
    return [
        _allow("SeeMachines", [f"ec2:Describe{name}" for name in describe], "*"),
        _allow("SeeOffers", ["ec2:DescribeInstanceTypeOfferings"], "*"),
        _allow("MakeMachine", [f"ec2:{name}" for name in make], "*") | {"Condition": here},
        _allow("ChangeMachine", [f"ec2:{name}" for name in change], "*") | {"Condition": ours},
        _allow("DeleteTemplate", ["ec2:DeleteLaunchTemplate"], templates)
        | {"Condition": _THROUGH_STACKS},
        _allow("FindImage", ["ssm:GetParameters"], images),
    ]


def _watch(stack: Stack, place: Place) -> list[Document]:
    alarms = _arn(place, "cloudwatch", f"alarm:{stack.name}-*")
    dashboard = f"arn:{place.partition}:cloudwatch::{place.account}:dashboard/{stack.name}"
    tags = ("ListTagsForResource", "TagResource", "UntagResource")
    announce = [
        *("CreateTopic", "DeleteTopic", "GetDataProtectionPolicy", "GetTopicAttributes"),
        *("ListSubscriptionsByTopic", "SetTopicAttributes", "Subscribe", "Unsubscribe", *tags),
    ]
    encrypt = [
        *("DescribeKey", "DisableKey", "DisableKeyRotation", "EnableKey", "EnableKeyRotation"),
        *("GetKeyPolicy", "GetKeyRotationStatus", "ListResourceTags", "PutKeyPolicy"),
        *("ScheduleKeyDeletion", "TagResource", "UntagResource", "UpdateKeyDescription"),
    ]
    make = ("DeleteAlarms", "PutCompositeAlarm", "PutMetricAlarm", *tags)
    show = ("DeleteDashboards", "GetDashboard", "PutDashboard", *tags)
    return [
        _allow("MakeAlarms", [f"cloudwatch:{name}" for name in make], alarms),
        # The composite alarm needs to see what it is composed of, which has no ARNs.
        _allow("SeeAlarms", ["cloudwatch:DescribeAlarms"], "*"),
        _allow("MakeDashboard", [f"cloudwatch:{name}" for name in show], dashboard),
        _allow(
            "MakeTopic",
            [f"sns:{name}" for name in announce],
            _arn(place, "sns", f"{_leading(stack)}*"),
        ),
        # The topic's key; and what key an alias stands for that a bucket or a queue is encrypted with.
        _allow("MakeKey", ["kms:CreateKey", "kms:DescribeKey"], "*"),
        _allow("ChangeKey", [f"kms:{name}" for name in encrypt], "*")
        | {"Condition": _THROUGH_STACKS},
    ]


def _leading(stack: Stack) -> str:
    return stack.name[:_LEADING]


def _arn(place: Place, service: str, resource: str) -> str:
    return f"arn:{place.partition}:{service}:{place.region}:{place.account}:{resource}"


def _allow(sid: str, actions: list[str], resource: str | list[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": resource}
