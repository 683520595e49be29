"""GETs by obstore: they ask what botocore would ask, by the same configuration."""

import socket
import ssl
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common import aws
from processor.errors import Unavailable
from processor.photos import native_s3, objects
from tests.support.certificates import certificates
from tests.support.endpoints import (
    NOBODY,
    Body,
    Request,
    aws_at,
    naming_targets,
    s3_names_targets,
    s3_sends,
    serving,
)
from tests.support.keys import ODD_KEYS, PLAIN_KEYS
from tests.support.s3_answers import s3_answers

KEY = "photos/a.jpg"
pytestmark = pytest.mark.usefixtures("aws")

# Keys


@pytest.mark.parametrize("key", PLAIN_KEYS)
def test_keys_are_asked_for_in_one_request(key: str) -> None:
    with s3_names_targets() as requests:
        objects.get("bucket", key, 4000)
    assert [each.is_native for each in requests] == [True]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_key_that_would_be_altered_is_an_error(key: str) -> None:
    with s3_names_targets(), pytest.raises(ValueError, match=r"Could not parse|instead of"):
        native_s3.get("bucket", key)


# Failures


def test_each_failure_is_one_of_the_announced(bucket: str) -> None:
    with pytest.raises(FileNotFoundError):
        native_s3.get(bucket, KEY)
    with s3_answers(503, "SlowDown", KEY) as methods, pytest.raises(native_s3.ERRORS, match="503"):
        native_s3.get(bucket, KEY)
    assert methods == ["GET"]
    with aws_at(NOBODY), pytest.raises(native_s3.ERRORS, match=NOBODY):
        native_s3.get(bucket, KEY)


def test_a_silent_s3_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "READ_SECONDS", 1)
    with s3_sends(Body(b"bytes", "1", sent=4, silent=True)):
        answer, began = native_s3.get("bucket", KEY), time.monotonic()
        with pytest.raises(native_s3.ERRORS):
            answer.bytes()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        guard = threading.Timer(20, mute.close)
        guard.daemon = True
        guard.start()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with aws_at(url), pytest.raises(native_s3.ERRORS):
            native_s3.get("bucket", KEY)
    assert time.monotonic() - began < 10


# Configuration


def test_requests_are_signed_for_the_region_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-south-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    with s3_names_targets() as requests:
        objects.get("bucket", KEY, 99)
    assert "/eu-south-1/s3/aws4_request" in requests[0].headers["Authorization"]


def test_the_endpoint_of_s3_precedes_the_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Request] = []
    with serving(naming_targets(requests)) as url, aws_at("http://127.0.0.1:9"):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        aws.forget()
        objects.get("bucket", KEY, 99)
    assert [each.is_native for each in requests] == [True]


def test_credentials_are_renewed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those of a profile whose process names new ones each time, because they expire soon."""
    count = tmp_path / "count"
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    answer = {"Version": 1, "SecretAccessKey": "secret", "SessionToken": "t", "Expiration": soon}
    script = tmp_path / "process.py"
    script.write_text(
        f"import json, pathlib\ncount = pathlib.Path({str(count)!r})\n"
        "number = len(count.read_text()) if count.exists() else 0\n"
        "count.write_text('x' * (number + 1))\n"
        f"print(json.dumps({answer!r} | {{'AccessKeyId': f'key{{number}}'}}))\n"
    )
    profiles = tmp_path / "config"
    profiles.write_text(f"[profile fruits]\ncredential_process = {sys.executable} {script}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_PROFILE", "fruits")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profiles))
    monkeypatch.setattr(native_s3, "CREDENTIALS_FOR", timedelta(0))
    with s3_names_targets() as requests:
        for _ in range(3):
            objects.get("bucket", KEY, 99)
    assert [each.is_native for each in requests] == [True] * 3
    assert len({each.access_key for each in requests}) == 3
    assert requests[0].headers["X-Amz-Security-Token"] == "t"


# The way to S3


@pytest.mark.parametrize(
    ("style", "url"),
    [("path", "http://s3.example.test/bucket/"), ("virtual", "http://bucket.s3.example.test/")],
)
def test_a_proxy_and_the_way_to_name_a_bucket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, style: str, url: str
) -> None:
    requests: list[Request] = []
    profiles = tmp_path / "config"
    profiles.write_text(f"[default]\ns3 =\n  addressing_style = {style}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profiles))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(naming_targets(requests)) as proxy, aws_at("http://s3.example.test"):
        monkeypatch.setenv("http_proxy", proxy)
        aws.forget()
        target = objects.get("bucket", KEY, 99).data.decode()
        monkeypatch.undo()
    assert target == f"{url}{KEY}"
    assert [each.is_native for each in requests] == [True]


def test_a_proxy_is_not_used_for_its_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with s3_names_targets() as requests:
        objects.get("bucket", KEY, 99)
    assert [each.is_native for each in requests] == [True]


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_the_configured_authority_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    authority, server = certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    requests: list[Request] = []
    with serving(naming_targets(requests), context) as url:
        with aws_at(url), pytest.raises(Unavailable, match="SSL"):
            objects.get("bucket", KEY, 99)
        assert not requests
        monkeypatch.setenv(variable, str(authority))
        with aws_at(url):
            objects.get("bucket", KEY, 99)
    assert [each.is_native for each in requests] == [True]
