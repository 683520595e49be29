"""Calls to services other than S3: their actions and resources."""

import json
from urllib.parse import urlencode

import pytest

from infra_scripts.embedded.calls import Call, Permission, Request, UnknownCallError, call_of
from infra_scripts.stack import Place

PLACE = Place("aws", "eu-west-1", "111111111111")
QUEUE = "arn:aws:sqs:eu-west-1:111111111111:q"
STACK = "arn:aws:cloudformation:eu-west-1:111111111111:stack/s"


def of_json(service: str, target: str, **parameters: object) -> Call:
    headers = {"x-amz-target": target}
    return call_of(
        Request(service, "POST", "/", "", headers, json.dumps(parameters).encode()), PLACE
    )


def of_form(service: str, **parameters: str) -> Call:
    return call_of(Request(service, "POST", "/", "", {}, urlencode(parameters).encode()), PLACE)


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("ReceiveMessage", "sqs:ReceiveMessage"),
        ("SendMessageBatch", "sqs:SendMessage"),
        ("DeleteMessageBatch", "sqs:DeleteMessage"),
        ("ChangeMessageVisibilityBatch", "sqs:ChangeMessageVisibility"),
    ],
)
def test_batches_of_sqs_need_what_single_messages_need(operation: str, action: str) -> None:
    call = of_json("sqs", f"AmazonSQS.{operation}", QueueUrl="http://127.0.0.1/111111111111/q")
    assert call == Call(f"sqs:{operation}", (Permission(action, QUEUE),))


def test_a_queue_is_known_by_its_name_or_its_url() -> None:
    assert of_json("sqs", "AmazonSQS.GetQueueUrl", QueueName="q").permissions[0].resource == QUEUE
    query = of_form("sqs", Action="DeleteQueue", QueueUrl="http://h/1/q")
    assert query.permissions == (Permission("sqs:DeleteQueue", QUEUE),)


def test_log_groups_and_streams() -> None:
    group = "arn:aws:logs:eu-west-1:111111111111:log-group:"
    put = of_json("logs", "Logs_20140328.PutLogEvents", logGroupName="/g", logStreamName="s")
    assert put.permissions == (Permission("logs:PutLogEvents", f"{group}/g:log-stream:s"),)
    listed = of_json("logs", "Logs_20140328.DescribeLogGroups", logGroupNamePrefix="/g")
    assert listed.permissions[0].resource == f"{group}:log-stream:"


def test_the_action_of_a_metric_has_the_prefix_of_iam() -> None:
    path = "/service/GraniteServiceVersion20100801/operation/GetMetricStatistics"
    call = call_of(Request("monitoring", "POST", path), PLACE)
    assert call.permissions == (Permission("cloudwatch:GetMetricStatistics", "*"),)


def test_stacks() -> None:
    arn = f"{STACK}/11111111-2222"
    assert of_form("cloudformation", Action="CreateStack", StackName="s").permissions == (
        Permission("cloudformation:CreateStack", f"{STACK}/id"),
    )
    by_arn = of_form("cloudformation", Action="DescribeStacks", StackName=arn)
    assert by_arn.permissions[0].resource == arn
    assert of_form("cloudformation", Action="DescribeStacks").permissions[0].resource == "*"


def test_parameters() -> None:
    name = "/aws/service/canonical/ubuntu"
    call = of_json("ssm", "AmazonSSM.GetParameters", Names=[name, "/ours"])
    assert [each.resource for each in call.permissions] == [
        "arn:aws:ssm:eu-west-1::parameter/aws/service/canonical/ubuntu",
        "arn:aws:ssm:eu-west-1:111111111111:parameter/ours",
    ]


def test_who_am_i_needs_no_permission() -> None:
    assert of_form("sts", Action="GetCallerIdentity") == Call("sts:GetCallerIdentity", ())


def test_what_no_rule_covers_is_an_error() -> None:
    with pytest.raises(UnknownCallError, match="lambda: GET /functions"):
        call_of(Request("lambda", "GET", "/functions"), PLACE)
