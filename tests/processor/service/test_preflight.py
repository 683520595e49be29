"""The preflight: what is missing or not permitted in AWS, in one line with the fix."""

import time

import pytest

from processor.errors import PreflightError
from processor.service.preflight import check_bucket, find_queue
from tests.support.aws import DeployedStack
from tests.support.endpoints import NOBODY, Denies, aws_at, serving
from tests.support.forwarded import s3_refuses


def one_line(failure: pytest.ExceptionInfo[PreflightError]) -> str:
    message = str(failure.value)
    assert "\n" not in message
    return message


def test_an_existing_queue_has_a_url(stack: DeployedStack) -> None:
    assert find_queue(stack.stack.queue) == stack.queue_url
    assert find_queue(stack.stack.dead_letter_queue) == stack.dead_letter_queue_url


def test_a_missing_queue_is_named_with_the_setting(aws: object) -> None:
    with pytest.raises(PreflightError) as failure:
        find_queue("nobodys", "queue.dead_letter_name")
    assert one_line(failure) == (
        "there is no queue 'nobodys': deploy it (python -m infra_scripts deploy) or correct "
        "queue.dead_letter_name"
    )
    with pytest.raises(PreflightError, match=r"correct queue\.name$"):
        find_queue("nobodys")


def test_a_bucket_exists_or_is_reported_as_missing(bucket: str) -> None:
    check_bucket(bucket)
    with pytest.raises(PreflightError) as failure:
        check_bucket(f"{bucket}-of-nobody")
    assert one_line(failure) == (
        f"there is no bucket '{bucket}-of-nobody': deploy it (python -m infra_scripts deploy) or "
        "correct storage.bucket"
    )


CHECKS = [
    pytest.param(find_queue, "queue 'pears'", "sqs:GetQueueUrl", id="queue"),
    pytest.param(check_bucket, "bucket 'pears'", "s3:ListBucket", id="bucket"),
]


@pytest.mark.parametrize(("check", "subject", "action"), CHECKS)
def test_a_missing_permission_is_named(aws: object, check, subject, action) -> None:
    with serving(Denies) as url, aws_at(url), pytest.raises(PreflightError) as failure:
        check("pears")
    message = one_line(failure)
    assert message.startswith(f"{subject}: no permission: ")
    assert f"grant {action} " in message
    assert "infra_scripts policy" in message


@pytest.mark.parametrize(
    ("code", "words"),
    [("ExpiredToken", "renew or correct"), ("RequestTimeTooSkewed", "set its clock")],
)
def test_credentials_and_clock_are_told_from_permissions(
    bucket: str, code: str, words: str
) -> None:
    with s3_refuses(lambda _: (403, code)), pytest.raises(PreflightError) as failure:
        check_bucket(bucket)
    assert words in one_line(failure)
    assert "permission" not in one_line(failure)


@pytest.mark.parametrize(("check", "subject", "action"), CHECKS)
def test_an_unreachable_aws_is_reported_with_its_endpoint(
    aws: object, monkeypatch: pytest.MonkeyPatch, check, subject, action
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # botocore's pauses between its attempts
    with aws_at(NOBODY), pytest.raises(PreflightError) as failure:
        check("pears")
    message = one_line(failure)
    assert message.startswith(f"{subject}: ")
    assert NOBODY in message
    assert "AWS_ENDPOINT_URL" in message
