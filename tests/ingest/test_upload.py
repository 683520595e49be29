"""Uploads by ``python -m ingest upload``: what reaches the bucket and the queue, and what is skipped."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from common import aws
from ingest.__main__ import main
from ingest.folder import photos
from ingest.upload import THREADS, Progress, upload
from tests.support.aws import DeployedStack

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(60):
        path = tmp_path / f"fruit {number % 3}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"photo %d" % number)
    return tmp_path


@pytest.fixture
def configured(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> DeployedStack:
    for name, value in stack.settings.items():
        monkeypatch.setenv(name, value)
    return stack


def bodies(stack: DeployedStack) -> dict[str, bytes]:
    listed = stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix="photos/").get("Contents", [])
    return {
        each["Key"]: stack.s3.get_object(Bucket=stack.bucket, Key=each["Key"])["Body"].read()
        for each in listed
    }


@pytest.fixture
def s3(stack: DeployedStack) -> "S3Client":
    return aws.client("s3", connections=THREADS)


def counting(files: Path, stack: DeployedStack, s3: "S3Client") -> Progress:
    notes: list[Progress] = []
    done = upload(s3, stack.bucket, "photos/", photos(files, "photos/", 1000), notes.append)
    assert notes[-1] is done
    return done


def test_a_folder_becomes_objects_and_events(
    folder: Path, configured: DeployedStack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upload", str(folder)]) == 0
    stored = bodies(configured)
    assert len(stored) == 60
    assert stored["photos/fruit 1/4.jpg"] == b"photo 4"
    assert {key for _, key in configured.events()} == set(stored)
    head = configured.s3.head_object(Bucket=configured.bucket, Key="photos/fruit 1/4.jpg")
    assert head["ContentType"] == "image/jpeg"
    assert "uploaded 60 " in capsys.readouterr().out


def test_what_is_there_is_skipped_and_what_differs_replaced(
    folder: Path, configured: DeployedStack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upload", str(folder)]) == 0
    configured.drain()
    (folder / "fruit 2" / "5.jpg").write_bytes(b"other 5")  # as long as before
    assert main(["upload", str(folder)]) == 0
    assert "uploaded 1 (0.0 MB), there already 59" in capsys.readouterr().out
    assert configured.events() == [("ObjectCreated:Put", "photos/fruit 2/5.jpg")]
    assert bodies(configured)["photos/fruit 2/5.jpg"] == b"other 5"


def test_equal_bytes_are_recognised_without_an_etag_of_md5(
    folder: Path, stack: DeployedStack, s3: "S3Client"
) -> None:
    """As under a KMS key; the SHA-256 that the first upload gave S3 tells."""

    def hide(parsed: dict[str, Any], **_: object) -> None:
        for each in parsed.get("Contents", ()):
            each["ETag"] = '"0123456789abcdef0123456789abcdef"'

    counting(folder, stack, s3)
    stack.s3.put_object(Bucket=stack.bucket, Key="photos/fruit 0/0.jpg", Body=b"photo 0")
    s3.meta.events.register("after-call.s3.ListObjectsV2", hide)
    try:
        done = counting(folder, stack, s3)
    finally:
        s3.meta.events.unregister("after-call.s3.ListObjectsV2", hide)
    assert done.present >= 59
    assert done.present + done.uploaded == 60


def test_a_failed_upload_is_continued(folder: Path, stack: DeployedStack, s3: "S3Client") -> None:
    calls = 0

    def fail(**_: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise ClientError({"Error": {"Code": "SlowDown", "Message": "test"}}, "PutObject")

    s3.meta.events.register("before-call.s3.PutObject", fail)
    try:
        with pytest.raises(ClientError):
            counting(folder, stack, s3)
    finally:
        s3.meta.events.unregister("before-call.s3.PutObject", fail)
    kept = len(bodies(stack))
    assert 0 < kept < 60
    done = counting(folder, stack, s3)
    assert (done.present, done.uploaded) == (kept, 60 - kept)


def test_under_puts_them_into_a_folder(folder: Path, configured: DeployedStack) -> None:
    assert main(["upload", str(folder), "--under", "/Training/"]) == 0
    assert "photos/Training/fruit 0/3.jpg" in bodies(configured)


def test_a_photo_left_out_is_named_and_counted(
    folder: Path, configured: DeployedStack, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "fruit 0" / "empty \x1b.jpg").touch()
    (folder / "LICENSE").write_text("MIT")
    assert main(["upload", str(folder)]) == 1
    output = capsys.readouterr()
    assert "left out 1; 1 other files" in output.out
    assert "empty \\u001b.jpg: empty" in output.err
    assert len(bodies(configured)) == 60


@pytest.mark.parametrize(
    ("arguments", "settings", "wanted"),
    [
        (["none"], {}, "No such file"),
        (["."], {}, "has no photos"),
        ([".", "--under", "../releases"], {}, "without . and .."),
        (["photos"], {"FRUITS_STORAGE__BUCKET": "another-bucket"}, "no such bucket"),
    ],
)
def test_errors_name_the_cause(
    arguments: list[str],
    settings: dict[str, str],
    wanted: str,
    tmp_path: Path,
    configured: DeployedStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    if arguments == ["photos"]:
        Path("photos", "a.jpg").write_bytes(b"x")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert main(["upload", *arguments]) == 1
    assert wanted in capsys.readouterr().err
