"""``python -m infra_scripts.embedded``: left running, it prints how to reach it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_left_running_it_prints_how_to_reach_it(end: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "infra_scripts.embedded", "--region", "us-east-1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        lines = [command.stdout.readline() for _ in range(9)]
        exports = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines[:-1])
        client = boto3.client(
            "s3",
            endpoint_url=exports["AWS_ENDPOINT_URL"],
            region_name=exports["AWS_REGION"],
            aws_access_key_id=exports["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=exports["AWS_SECRET_ACCESS_KEY"],
        )
        assert client.list_buckets()["Buckets"] == []
        client.close()
        os.kill(command.pid, end)
        assert command.wait(10) == 0
