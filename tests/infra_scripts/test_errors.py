"""The error tree: which of its errors an AWS error becomes, and what its one line says."""

import pytest
from botocore import exceptions as boto

from common.aws_errors import EndpointError
from infra_scripts.errors import (
    Conflict,
    Denied,
    EmbeddedAwsError,
    InfraError,
    StackError,
    Unreachable,
    as_stack_errors,
)


def answer(code: str, status: int = 400, operation: str = "CreateQueue") -> boto.ClientError:
    described = {
        "Error": {"Code": code, "Message": "two\nlines"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return boto.ClientError(described, operation)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (answer("AccessDenied"), Denied, "grant sqs:CreateQueue"),
        (answer("AccessDenied", operation="HeadBucket"), Denied, "grant s3:ListBucket"),
        (answer("Something", status=403), Denied, "no permission"),
        (answer("ExpiredToken"), Denied, "renew or correct"),
        (boto.NoCredentialsError(), Denied, "set AWS_PROFILE"),
        (boto.ConnectTimeoutError(endpoint_url="http://aws"), Unreachable, "check the network"),
        (boto.ReadTimeoutError(endpoint_url="http://aws"), Unreachable, "check the network"),
        (boto.NoRegionError(), StackError, "set AWS_REGION"),
        (answer("OperationAborted"), StackError, "retry in a minute"),
        (answer("MalformedPolicy"), StackError, "CreateQueue failed: MalformedPolicy: two lines"),
        (EndpointError("correct AWS_ENDPOINT_URL"), StackError, "correct AWS_ENDPOINT_URL"),
    ],
)
def test_an_aws_error_becomes_one_line_of_the_tree(
    error: Exception, kind: type[StackError], words: str
) -> None:
    with pytest.raises(StackError, match=words) as raised, as_stack_errors():
        raise error
    assert type(raised.value) is kind
    assert raised.value.__cause__ is error
    assert "\n" not in str(raised.value)
    assert "infra_scripts policy" not in str(raised.value)  # it would not let anybody deploy


@pytest.mark.parametrize("kind", [Conflict, KeyError])
def test_other_errors_pass_as_they_are(kind: type[Exception]) -> None:
    with pytest.raises(kind), as_stack_errors():
        raise kind


def test_one_base_catches_all() -> None:
    for kind in (EmbeddedAwsError, StackError, Denied, Unreachable, Conflict):
        assert issubclass(kind, InfraError)
