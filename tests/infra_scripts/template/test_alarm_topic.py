"""The alarms' topic: encrypted with a key that CloudWatch may use, and open to this account's alarms."""

from typing import Any

import pytest

from infra_scripts.stack import Alarms
from infra_scripts.template import alarm_topic
from tests.support.aws import unique_stack


@pytest.fixture
def made() -> dict[str, Any]:
    return alarm_topic.resources(unique_stack(alarms=Alarms(email="ops@example.com")))


def test_who_is_named_subscribes(made: dict[str, Any]) -> None:
    topic = made["AlarmTopic"]["Properties"]
    assert topic["Subscription"] == [{"Protocol": "email", "Endpoint": "ops@example.com"}]
    nobody = alarm_topic.resources(unique_stack())["AlarmTopic"]["Properties"]
    assert "Subscription" not in nobody


def test_cloudwatch_may_publish_and_encrypt_for_this_account_only(made: dict[str, Any]) -> None:
    assert made["AlarmTopic"]["Properties"]["KmsMasterKeyId"] == {"Ref": "AlarmKey"}
    key, topic = made["AlarmKey"], made["AlarmTopicPolicy"]
    statements = [
        *topic["Properties"]["PolicyDocument"]["Statement"],
        *key["Properties"]["KeyPolicy"]["Statement"],
    ]
    by_service = [each for each in statements if "Service" in each["Principal"]]
    assert [each["Action"] for each in by_service] == [
        ["sns:Publish"],
        ["kms:Decrypt", "kms:GenerateDataKey*"],
    ]
    for each in by_service:
        assert each["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        account = {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        assert each["Condition"] == {"StringEquals": account}
