"""Redaction: what is secret by its name, its form or its value; and what is not."""

import pytest

from common import redaction
from common.redaction import REDACTED, hide, names_a_secret, redacted

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjE" + "Ab1/+=" * 40
SIGNATURE = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
SCOPE = "AKIA/20261127/eu-west-1/s3/aws4_request"
SIGNED = f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature={SIGNATURE}"


@pytest.mark.parametrize(
    "text",
    [
        f"aws_secret_access_key = {SECRET}",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"export AWS_SESSION_TOKEN='{TOKEN}'",
        f'{{"SecretAccessKey": "{SECRET}", "a": 1}}',
        f'{{\\"SecretAccessKey\\": \\"{SECRET}\\", "a": 1}}',
        f"{{'secret_key': '{SECRET}'}}",
        f"ReadOnlyCredentials(access_key='AKIA', secret_key='{SECRET}', token='{TOKEN}')",
        f"spark.hadoop.fs.s3a.secret.key={SECRET}",
        f"<SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>{TOKEN}</SessionToken>",
        f"Authorization: {SIGNED}",
        f"'Authorization': b'{SIGNED}', 'Host': b'a'",
        f'"authorization":"Bearer {TOKEN}"',
        f"Proxy-Authorization: Basic {SECRET}",
        f"Signature={SIGNATURE}",
        f"https://b.s3.amazonaws.com/k?X-Amz-Algorithm=a&X-Amz-Signature={SIGNATURE}&x=1",
        f"https://b.s3.amazonaws.com/k?X-Amz-Security-Token={TOKEN.replace('/', '%2F')}&x=1",
        f"X-Amz-Security-Token: {TOKEN}",
        f"https://user:{SECRET.replace('/', '')}@proxy.example:8080/",
        f"password={SECRET}",
        f"somewhere in a text {TOKEN} without a name",
    ],
)
def test_what_looks_like_a_secret_goes(text: str) -> None:
    clean = redacted(text)
    assert REDACTED in clean
    for secret in (SECRET, TOKEN, SIGNATURE, TOKEN[:40], SECRET.replace("/", "")):
        assert secret not in clean
    assert redacted(clean) == clean


def test_the_rest_of_a_text_stays() -> None:
    text = f"GET https://b.s3.amazonaws.com/k?X-Amz-Signature={SIGNATURE}&x=1 failed: 403"
    assert (
        redacted(text)
        == f"GET https://b.s3.amazonaws.com/k?X-Amz-Signature={REDACTED}&x=1 failed: 403"
    )
    assert redacted("a://u:p@h/ b") == f"a://u:{REDACTED}@h/ b"


@pytest.mark.parametrize(
    "text",
    [
        "the security token included in the request is invalid",
        "no permission: allow sts:GetSessionToken",
        "s3://bucket/photos/a.jpg at 12:30, etag 3e47b75000b0924b6c9ba5759a7cf15d",
        "set aws_access_key_id and the other variables",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/fruits-photos",
        "S3 answered AuthorizationHeaderMalformed: the region 'x' is wrong; expecting 'y'",
    ],
)
def test_what_only_speaks_of_secrets_stays(text: str) -> None:
    assert redacted(text) == text


def test_known_secrets_go_whatever_they_look_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})
    text = f"{SECRET} and {TOKEN}"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    hide(TOKEN, "short", None)
    assert redacted(text) == f"{REDACTED} and {REDACTED}"
    assert redacted("short") == "short"
    for number in range(redaction.MOST_KNOWN):
        hide(f"another secret {number:02}")
    assert len(redaction._known) == redaction.MOST_KNOWN


def test_names_of_secrets() -> None:
    for name in ("password", "Authorization", "aws_session_token", "SecretAccessKey"):
        assert names_a_secret(name)
    for name in ("key", "token", "message", "authorization_mode", "tokens"):
        assert not names_a_secret(name)
