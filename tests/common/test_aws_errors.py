"""AWS' errors: their kinds, and how they are explained to the operator."""

import pytest
from botocore import exceptions as boto

from common import aws_errors


def answer(code: str, operation: str = "GetObject", status: int = 400) -> boto.ClientError:
    described = {
        "Error": {"Code": code, "Message": "two\nlines"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return boto.ClientError(described, operation)


def test_the_kind_of_an_error() -> None:
    assert aws_errors.is_refusal(answer("AccessDenied"))
    assert aws_errors.is_refusal(answer("Something", status=403))
    assert aws_errors.is_refusal(boto.NoCredentialsError())
    assert not aws_errors.is_refusal(answer("NoSuchKey", status=404))
    assert aws_errors.is_unreachable(boto.ConnectTimeoutError(endpoint_url="http://aws"))
    assert not aws_errors.is_unreachable(answer("InternalError", status=500))
    assert not aws_errors.is_unreachable(boto.NoRegionError())


@pytest.mark.parametrize(
    ("error", "refusal", "transient"),
    [
        (answer("ExpiredTokenException"), True, False),
        (answer("OptInRequired", status=403), True, False),
        (boto.SSOTokenLoadError(error_msg="no"), True, False),
        (boto.UnauthorizedSSOTokenError(), True, False),
        (boto.TokenRetrievalError(provider="sso", error_msg="no"), True, False),
        (boto.LoginRefreshRequired(), True, False),
        (boto.ConfigParseError(path="config"), True, False),
        (
            RuntimeError(
                "Credentials were refreshed, but the refreshed credentials are still expired."
            ),
            True,
            False,
        ),
        (RuntimeError("another"), False, False),
        (boto.CredentialRetrievalError(provider="iam-role", error_msg="no"), True, True),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), False, True),
        (answer("SlowDown", status=503), False, True),
        (answer("RequestTimeTooSkewed", status=403), False, False),
    ],
    ids=lambda each: (
        f"{type(each).__name__}-{str(each)[:30]}" if isinstance(each, Exception) else None
    ),
)
def test_what_may_pass_by_itself(error: Exception, refusal: bool, transient: bool) -> None:
    assert aws_errors.is_refusal(error) == refusal
    assert aws_errors.is_transient(error) == transient
    assert "\n" not in aws_errors.explain(error)


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("GetObject", "s3:GetObject"),
        ("HeadObject", "s3:GetObject"),
        ("ListObjectsV2", "s3:ListBucket"),
        ("PutBucketNotificationConfiguration", "s3:PutBucketNotification"),
        ("ReceiveMessage", "sqs:ReceiveMessage"),
        ("PutRetentionPolicy", "logs:PutRetentionPolicy"),
        ("GetMetricStatistics", "cloudwatch:GetMetricStatistics"),
        ("GetCallerIdentity", "sts:GetCallerIdentity"),
        ("AssumeRole", "sts:AssumeRole"),
    ],
)
def test_the_action_that_allows_an_operation(operation: str, action: str) -> None:
    assert aws_errors.action_of(operation) == action


def test_an_explanation_is_one_line_with_the_fix() -> None:
    denied = aws_errors.explain(answer("AccessDenied"), "bucket 'pears'")
    assert denied == (
        "bucket 'pears': no permission: GetObject was denied (two lines); grant s3:GetObject to "
        "these credentials (`python -m infra_scripts policy` prints what the service needs)"
    )
    assert aws_errors.explain(answer("AccessDenied"), hint="").endswith("to these credentials")
    assert "renew or correct" in aws_errors.explain(answer("ExpiredToken"))
    assert "retry in a minute" in aws_errors.explain(answer("OperationAborted"))
    assert "set AWS_REGION" in aws_errors.explain(boto.NoRegionError())
    assert "correct storage.bucket" in aws_errors.explain(answer("NoSuchBucket"))
    assert "correct AWS_REGION" in aws_errors.explain(answer("PermanentRedirect"))
    issuer = boto.CredentialRetrievalError(provider="iam-role", error_msg="no answer")
    assert aws_errors.explain(issuer).startswith("AWS credentials cannot be renewed: ")
    assert aws_errors.explain(answer("NoSuchKey")) == "GetObject failed: NoSuchKey: two lines"


def test_a_refused_head_says_what_it_may_be() -> None:
    """S3 sends no body with a response to HEAD, so neither the code nor the message."""
    refused = boto.ClientError({"Error": {"Code": "400", "Message": "Bad Request"}}, "HeadObject")
    line = aws_errors.explain(refused)
    assert line.startswith("HeadObject failed: 400")
    assert "the credentials may have expired" in line
