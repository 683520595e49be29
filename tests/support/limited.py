"""Callers with limited permissions: sessions of roles of the embedded IAM."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import boto3

from common.aws import forget

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    ],
}


def session_of(
    name: str, policy: Mapping[str, Any], connect: Callable[[str], Any] = boto3.client
) -> dict[str, str]:
    """The environment of a caller who may do what ``policy`` allows, as a new role of this name.

    ``connect`` makes the clients that create it.
    """
    iam, sts = connect("iam"), connect("sts")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
    session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }


def user_of(
    name: str, policy: Mapping[str, Any], connect: Callable[[str], Any] = boto3.client
) -> dict[str, str]:
    """The same as a new user."""
    iam = connect("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


@contextmanager
def calling_as(environment: Mapping[str, str]) -> Iterator[None]:
    """What :mod:`common.aws` does here, it does as this caller."""
    try:
        with patch.dict(os.environ, environment):
            forget()
            yield
    finally:
        forget()
