"""The embedded IAM: which requests a policy allows."""

import pytest

from infra_scripts.embedded.iam import allows


def policy(**statement: object) -> list[dict]:
    """A document with one statement, which allows unless it says otherwise."""
    return [{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"} | statement}]


@pytest.mark.parametrize(
    ("pattern", "resource", "allowed"),
    [
        ("arn:aws:s3:::b/photos/*", "arn:aws:s3:::b/photos/a/b.jpg", True),
        ("arn:aws:s3:::b/photos/*", "arn:aws:s3:::b/features/a", False),
        ("arn:aws:s3:::b", "arn:aws:s3:::b/a", False),
        ("arn:aws:s3:::b/?.jpg", "arn:aws:s3:::b/a.jpg", True),
        ("arn:aws:s3:::b/?.jpg", "arn:aws:s3:::b/aa.jpg", False),
        ("arn:aws:s3:::b/[a]", "arn:aws:s3:::b/a", False),
        ("arn:aws:s3:::b/[a]*", "arn:aws:s3:::b/[a]\n", True),
    ],
)
def test_resources(pattern: str, resource: str, *, allowed: bool) -> None:
    assert allows(policy(Resource=pattern), "s3:GetObject", resource) is allowed
    listed = policy(Resource=["arn:aws:s3:::other", pattern])
    assert allows(listed, "s3:GetObject", resource) is allowed
    del (but := policy(NotResource=pattern))[0]["Statement"]["Resource"]
    assert allows(but, "s3:GetObject", resource) is not allowed


@pytest.mark.parametrize(
    ("pattern", "action", "allowed"),
    [
        ("s3:getobject", "s3:GetObject", True),
        ("s3:Get*", "s3:GetObjectVersion", True),
        ("s3:GetObject", "s3:GetObjectVersion", False),
        (["sqs:*", "s3:PutObject"], "s3:PutObject", True),
    ],
)
def test_actions(pattern: object, action: str, *, allowed: bool) -> None:
    assert allows(policy(Action=pattern), action, "r") is allowed
    del (but := policy(NotAction=pattern))[0]["Statement"]["Action"]
    assert allows(but, action, "r") is not allowed


def test_a_denial_wins_and_silence_denies() -> None:
    denial = policy(Effect="Deny", Action="s3:PutObject")
    assert not allows([], "s3:PutObject", "r")
    assert not allows(policy(Action="s3:PutObject") + denial, "s3:PutObject", "r")
    assert allows(policy() + denial, "s3:GetObject", "r")


@pytest.mark.parametrize(
    ("condition", "context", "allowed"),
    [
        ({"StringLike": {"s3:prefix": ["a/*", "b/*"]}}, {"s3:prefix": "b/c"}, True),
        ({"StringLike": {"s3:prefix": ["a/*", "b/*"]}}, {"s3:prefix": "c"}, False),
        ({"StringLike": {"s3:prefix": "a/*"}}, {}, False),
        ({"StringLikeIfExists": {"s3:prefix": "a/*"}}, {}, True),
        ({"StringLikeIfExists": {"s3:prefix": "a/*"}}, {"S3:Prefix": "b"}, False),
        ({"StringNotEquals": {"s3:prefix": "a"}}, {}, True),
        ({"StringNotEquals": {"s3:prefix": ["a", "b"]}}, {"s3:prefix": "b"}, False),
        ({"StringEquals": {"s3:prefix": "a*"}}, {"s3:prefix": "ab"}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:*:q"}}, {"aws:SourceArn": "arn:x:q"}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": "False"}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, {}, False),
        ({"Null": {"s3:prefix": "true"}}, {}, True),
        ({"Null": {"s3:prefix": "true"}}, {"s3:prefix": ""}, False),
        ({"ForAnyValue:StringEquals": {"k": "a"}, "StringEquals": {"l": "b"}}, {"k": "a"}, False),
    ],
)
def test_conditions(condition: dict, context: dict[str, str], *, allowed: bool) -> None:
    assert allows(policy(Condition=condition), "s3:ListBucket", "r", context) is allowed


def test_a_condition_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ValueError, match="NumericLessThan"):
        allows(policy(Condition={"NumericLessThan": {"s3:max-keys": "9"}}), "s3:ListBucket", "r")
