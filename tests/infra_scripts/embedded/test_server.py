"""The server of the embedded AWS: many connections at once, and S3 requests one at a time."""

import os
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from botocore.exceptions import ClientError

from infra_scripts.embedded import EmbeddedAws
from tests.support.aws import DeployedStack


def test_one_of_many_conditional_puts_wins(stack: DeployedStack) -> None:
    def put(attempt: int) -> str:
        key = f"log/{attempt % 20}"
        try:
            stack.s3.put_object(Bucket=stack.bucket, Key=key, Body=b"x", IfNoneMatch="*")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "won"

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(put, range(160)))
    assert outcomes == {"won": 20, "PreconditionFailed": 140}


def test_conditional_get(stack: DeployedStack) -> None:
    etag = stack.put("photos/a.jpg")
    with pytest.raises(ClientError) as raised:
        stack.s3.get_object(Bucket=stack.bucket, Key="photos/a.jpg", IfNoneMatch=etag)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 304


def test_many_may_connect_at_once(short_lived: EmbeddedAws) -> None:
    port = int(short_lived.endpoint_url.rpartition(":")[2])
    os.kill(short_lived.pid, signal.SIGSTOP)  # so that the connections pile up
    try:
        with ExitStack() as connections:
            for _ in range(60):
                connections.enter_context(socket.create_connection(("127.0.0.1", port), 0.9))
    finally:
        os.kill(short_lived.pid, signal.SIGCONT)
