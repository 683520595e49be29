"""Photos in S3: what is under a key now, and what each response of S3 means."""

import logging
import os
import random
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import boto3
import pytest
from botocore.exceptions import ClientError, ConfigParseError, NoCredentialsError

from common import aws
from processor.errors import Missing, Refused, TooLarge, Unavailable
from processor.photos import objects
from tests.support.certificates import certificates
from tests.support.endpoints import (
    NOBODY,
    Body,
    Silent,
    aws_at,
    s3_names_targets,
    s3_sends,
    serving,
)
from tests.support.keys import ODD_KEYS, PLAIN_KEYS
from tests.support.s3_answers import s3_answers

KEY = "photos/a b+ü%.jpg"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between attempts."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def put(bucket: str, data: bytes, key: str = KEY) -> str:
    """The version that S3 has now."""
    answer = boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=data)
    return answer.get("VersionId") or answer["ETag"].strip('"')


def test_a_tls_error_while_the_body_is_read_concerns_this_photo_only(
    aws: object, impatient: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, server = certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    asked = []

    class Garbles(Silent):
        def do_GET(self) -> None:
            asked.append(self.path)
            modified = "Sun, 22 Nov 2026 12:00:00 GMT"
            headers = {"ETag": '"e"', "Last-Modified": modified, "Content-Length": "1000"}
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(bytes(100))
            self.wfile.flush()
            os.write(self.connection.fileno(), b"not TLS " * 100)
            self.close_connection = True

    with serving(Garbles, context) as url, aws_at(url), pytest.raises(Unavailable, match="SSL"):
        objects.get("bucket", KEY, 1000)
    assert len(asked) > 2  # by obstore, and by botocore several times


# Existing and missing objects


def test_an_object_has_data_a_version_and_a_date(bucket: str) -> None:
    etag = put(bucket, b"bytes")
    found = objects.get(bucket, KEY, 5)
    assert (found.data, found.version) == (b"bytes", etag)
    assert '"' not in found.version
    assert abs((datetime.now(UTC) - found.modified).total_seconds()) < 60
    assert objects.current_version(bucket, KEY) == etag


def test_in_a_versioned_bucket_the_version_id_counts(bucket: str) -> None:
    old = put(bucket, b"from before")
    assert objects.current_version(bucket, KEY) == old
    versioning = {"Status": "Enabled"}
    boto3.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)
    assert objects.get(bucket, KEY, 11).version == old
    first, second = put(bucket, b"same"), put(bucket, b"same")
    assert first != second
    assert objects.get(bucket, KEY, 9).version == objects.current_version(bucket, KEY) == second
    boto3.client("s3").delete_object(Bucket=bucket, Key=KEY)  # a delete marker
    assert objects.current_version(bucket, KEY) is None
    with pytest.raises(Missing):
        objects.get(bucket, KEY, 9)


def test_an_object_from_before_versioning_is_known_by_its_etag() -> None:
    """S3 calls its version "null", whatever its content is replaced by while versioning is suspended."""
    assert objects.version_of({"VersionId": "null", "ETag": '"e-1"'}) == "e-1"
    assert objects.version_of({"VersionId": "v", "ETag": '"e-1"'}) == "v"


def test_a_missing_object(bucket: str) -> None:
    assert objects.current_version(bucket, KEY) is None
    with pytest.raises(Missing):
        objects.get(bucket, KEY, 9)


def test_a_delete_marker_is_a_missing_object(bucket: str) -> None:
    """With the status that S3 returns for a version, and some implementations always."""
    with s3_answers(405, "MethodNotAllowed", "/a"):
        assert objects.current_version(bucket, "a") is None
        with pytest.raises(Missing):
            objects.get(bucket, "a", 9)


# Too large


def test_an_object_above_the_limit_is_refused_with_its_version(bucket: str) -> None:
    etag = put(bucket, bytes(11))
    assert len(objects.get(bucket, KEY, 11).data) == 11
    with pytest.raises(TooLarge, match=r"11 bytes; images\.max_bytes allows 10") as refused:
        objects.get(bucket, KEY, 10)
    assert refused.value.version == etag


def test_an_object_above_the_limit_is_not_read() -> None:
    """No byte of its body is ever sent."""
    with s3_sends(Body(bytes(11), "large", sent=0, silent=True)):
        began = time.monotonic()
        with pytest.raises(TooLarge):
            objects.get("bucket", KEY, 10)
        assert time.monotonic() - began < 10


def test_whether_an_object_is_served_is_known_without_reading_it() -> None:
    with s3_sends(Body(bytes(11), "large", sent=0, silent=True)):
        assert objects.is_served("bucket", KEY)


def test_what_is_served(bucket: str) -> None:
    put(bucket, b"", "a")
    assert objects.is_served(bucket, "a")
    assert objects.is_served(bucket, "nothing") is None
    with s3_answers(400, "KMS.DisabledException", "/a"):
        assert objects.is_served(bucket, "a") is False
    with s3_answers(403, "InvalidObjectState", "/a"):
        assert objects.is_served(bucket, "a") is None


# Refused or unavailable


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", "forbidden"),
        (403, "AllAccessDisabled", "forbidden"),
        (403, "InvalidObjectState", "archived"),
        (400, "KMS.DisabledException", "encrypted"),
        (400, "InvalidRequest", "refused"),
    ],
)
def test_an_object_that_s3_refuses(bucket: str, status: int, code: str, reason: str) -> None:
    with s3_answers(status, code, "/a") as methods:
        with pytest.raises(Refused, match=f"S3 answered {code}: no") as refused:
            objects.get(bucket, "a", 9)
        assert refused.value.reason == reason
        with pytest.raises(Refused) as refused:
            objects.current_version(bucket, "a")
        assert refused.value.reason == "forbidden"  # a response to HEAD has no body
    assert methods.count("GET") == 2  # obstore's, and botocore's for the reason; no retry helps


@pytest.mark.parametrize("call", ["get", "current_version"])
@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")]
)
def test_an_object_that_s3_cannot_deliver_is_unavailable_after_retries(
    bucket: str, impatient: None, call: str, status: int, code: str
) -> None:
    with s3_answers(status, code, "/a") as methods, pytest.raises(Unavailable, match="S3 answered"):
        look(call, bucket, "a")
    assert len(methods) == aws.ATTEMPTS + 1 + (call == "get")  # obstore's attempt


@pytest.mark.parametrize("call", ["get", "current_version"])
@pytest.mark.usefixtures("aws")
def test_in_an_outage_objects_are_unavailable(impatient: None, call: str) -> None:
    with aws_at(NOBODY), pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        look(call, "bucket", "a")


def test_a_configuration_that_cannot_be_read_concerns_all_photos(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "config"
    broken.write_text("[default")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(broken))
    aws.forget()
    with pytest.raises(ConfigParseError):
        objects.get(bucket, KEY, 9)


@pytest.mark.parametrize("call", ["get", "current_version"])
def test_credentials_that_cannot_be_renewed_now_may_be_later(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text("[default]\ncredential_process = false\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    aws.forget()
    with pytest.raises(Unavailable, match="retrieving credentials"):
        look(call, bucket, "a")


def look(call: str, bucket: str, key: str) -> object:
    if call == "get":
        return objects.get(bucket, key, 9)
    return objects.current_version(bucket, key)


# Bodies that break off


def test_a_body_that_breaks_off_is_read_again_from_the_start(impatient: None) -> None:
    broken = Body(b"old bytes", "old", sent=4)
    with s3_sends(broken, broken, Body(b"new bytes", "new")) as sent:
        found = objects.get("bucket", KEY, 9)
    assert (found.data, found.version) == (b"new bytes", "new")
    assert len(sent) == 3


def test_a_body_that_always_breaks_off_is_unavailable(impatient: None) -> None:
    with (
        s3_sends(Body(b"bytes", "1", sent=4)) as sent,
        pytest.raises(Unavailable, match=r"reading 'photos/.* failed"),
    ):
        objects.get("bucket", KEY, 9)
    assert len(sent) == 4  # one by obstore, three by botocore


def test_once_a_process_the_log_says_that_obstore_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(objects, "_noted", threading.Event())
    caplog.set_level(logging.INFO)
    whole, broken = Body(b"bytes", "1"), Body(b"bytes", "1", sent=4)
    with s3_sends(whole, broken, whole, broken, whole):
        objects.get("bucket", "odd//key", 9)  # always read by botocore
        for _ in range(2):
            objects.get("bucket", KEY, 9)
    (record,) = (each for each in caplog.records if each.name == objects.__name__)
    message = record.getMessage()
    assert message.startswith("botocore could read the object, obstore could not: Generic")


# Any object, any key


@pytest.mark.parametrize("size", [0, 1, 20_000_000])
def test_objects_of_any_size_are_read(bucket: str, size: int) -> None:
    data = random.Random(size).randbytes(size)
    put(bucket, data)
    assert objects.get(bucket, KEY, size).data == data


def test_bytes_arrive_as_they_are_stored(bucket: str) -> None:
    """Whatever encoding the object claims to have."""
    boto3.client("s3").put_object(Bucket=bucket, Key=KEY, Body=b"raw", ContentEncoding="gzip")
    assert objects.get(bucket, KEY, 9).data == b"raw"


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("key", PLAIN_KEYS + ODD_KEYS)
def test_exactly_the_object_of_this_key_is_read(key: str) -> None:
    """S3's keys are not paths: every byte counts."""
    with s3_names_targets():
        assert objects.get("bucket", key, 4000).data.decode() == f"/bucket/{quote(key, safe='/~')}"


def test_eight_photos_are_read_at_once(bucket: str) -> None:
    keys = [f"photos/{n}.jpg" for n in range(64)]
    versions = [put(bucket, key.encode(), key) for key in keys]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda key: objects.get(bucket, key, 99), keys))
    assert [each.data.decode() for each in found] == keys
    assert [each.version for each in found] == versions


# Errors that concern all photos


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "ExpiredToken"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "RequestTimeTooSkewed"),
        (404, "NoSuchBucket"),
    ],
)
def test_an_error_about_all_photos_stays_botocores(bucket: str, status: int, code: str) -> None:
    with s3_answers(status, code, "/a"), pytest.raises(ClientError, match=code):
        objects.get(bucket, "a", 9)


@pytest.mark.parametrize("call", ["get", "current_version"])
def test_without_credentials_botocores_error_is_raised(
    bucket: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none/such")
    monkeypatch.setenv("AWS_CONFIG_FILE", "none/such")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    aws.forget()
    with pytest.raises(NoCredentialsError):
        look(call, bucket, "a")
