"""A stack and its place as values: names that are derived, and names that cannot work."""

import pytest

from infra_scripts.errors import StackError
from infra_scripts.stack import Place
from tests.support.aws import unique_stack


def test_names_that_cannot_work_are_rejected() -> None:
    with pytest.raises(StackError, match="give the dead letters a queue of their own"):
        unique_stack(queue="q", dead_letter_queue="q")
    with pytest.raises(StackError, match="my photos/"):
        unique_stack(photos_prefix="my photos/")


def test_names_are_derived() -> None:
    stack = unique_stack(bucket="pears", queue="events")
    assert stack.bucket == stack.layout.bucket == "pears"
    assert stack.notification_id == "photos-to-events"
    assert unique_stack(queue="raw_events").name == "fruits-raw-events"


def test_arns_name_partition_region_and_account() -> None:
    china = Place("aws-cn", "cn-north-1", "111111111111")
    assert china.queue_arn("q") == "arn:aws-cn:sqs:cn-north-1:111111111111:q"
    assert china.log_group_arn("/g") == "arn:aws-cn:logs:cn-north-1:111111111111:log-group:/g"
    assert china.bucket_arn("b") == "arn:aws-cn:s3:::b"
