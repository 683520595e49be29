"""Weights in S3: pinned by their digest, downloaded once, and the error when that fails."""

import hashlib

import boto3
import pytest
from moto.server import ThreadedMotoServer

from processor.errors import WeightsError
from processor.network import weights
from processor.network.weights import obtain
from processor.network.weights_keras import convert
from tests.support.drawn_weights import in_one_line

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    yield client
    client.close()
    server.stop()


def test_s3_object_is_verified_and_downloaded_once(saved, tmp_path, s3):
    folder, digest = saved
    data = (folder / "plain.npz").read_bytes()
    s3.put_object(Bucket="models", Key="vgg 16/#1.npz", Body=data)
    setting = f"s3://models/vgg 16/#1.npz#sha256={hashlib.sha256(data).hexdigest().upper()}"
    found = obtain(setting, include_top=False, cache_dir=tmp_path)
    assert found.digest == digest
    assert found.source == "s3://models/vgg 16/#1.npz"
    assert {each.name for each in tmp_path.iterdir()} == {found.path.name, ".lock"}
    s3.delete_object(Bucket="models", Key="vgg 16/#1.npz")
    assert obtain(setting, include_top=False, cache_dir=tmp_path) == found


def test_s3_object_in_a_keras_container(saved, tmp_path, s3, monkeypatch):
    def here(source, target, *, include_top):
        convert(source, target, include_top=include_top)

    monkeypatch.setattr(weights, "_by_keras", here)  # saves the seconds that a child process takes
    folder, digest = saved
    data = (folder / "plain.keras").read_bytes()
    s3.put_object(Bucket="models", Key="a.keras", Body=data)
    setting = f"s3://models/a.keras#sha256={hashlib.sha256(data).hexdigest()}"
    assert obtain(setting, include_top=False, cache_dir=tmp_path).digest == digest


def test_s3_object_with_other_content_is_refused(tmp_path, s3):
    s3.put_object(Bucket="models", Key="a.npz", Body=b"other")
    wanted, found = "0" * 64, hashlib.sha256(b"other").hexdigest()
    with pytest.raises(WeightsError, match=f"SHA-256 {found}, not {wanted}") as failure:
        obtain(f"s3://models/a.npz#sha256={wanted}", include_top=False, cache_dir=tmp_path)
    in_one_line(failure)
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("location", ["models/none.npz", "nowhere/a.npz"])
def test_missing_s3_object_is_named(tmp_path, s3, location):
    with pytest.raises(
        WeightsError, match=f"cannot get weights from s3://{location} .*404"
    ) as failure:
        obtain(f"s3://{location}#sha256={'0' * 64}", include_top=False, cache_dir=tmp_path)
    assert "s3:GetObject" in in_one_line(failure)


def test_s3_without_network_fails_soon(tmp_path, s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="Could not connect") as failure:
        obtain(f"s3://models/a.npz#sha256={'0' * 64}", include_top=False, cache_dir=tmp_path)
    assert "AWS_ENDPOINT_URL" in in_one_line(failure)


@pytest.mark.parametrize(
    "setting",
    ["s3://models/a.npz", "s3://models/a.npz#sha256=abc", "s3://models", "s3:/models/a.npz"],
)
def test_s3_without_digest_is_refused(tmp_path, setting):
    with pytest.raises(WeightsError, match="write s3://bucket/key#sha256=HEX") as failure:
        obtain(setting, include_top=False, cache_dir=tmp_path)
    assert repr(setting) in in_one_line(failure)


def test_s3_object_that_is_not_a_container_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"'a\.pt' is not a weights file"):
        obtain(f"s3://models/a.pt#sha256={'0' * 64}", include_top=False, cache_dir=tmp_path)
