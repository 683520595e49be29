"""The release: the same files are the same bytes, and only what an instance runs is in it."""

import hashlib
import io
import os
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra_scripts import release
from infra_scripts.clients import Clients
from infra_scripts.errors import StackError
from infra_scripts.stack import Stack
from tests.support.aws import DeployedStack, unique_stack
from tests.support.watched import instead, recorded

STACK = unique_stack()
CONFIGURATION = '[storage]\nbucket = "b"\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in release.FOLDERS:
        (tmp_path / folder / "__pycache__").mkdir(parents=True)
        (tmp_path / folder / "__pycache__" / "code.pyc").write_bytes(b"bytes")
        (tmp_path / folder / "code.py").write_text(f'"""{folder}"""\n')
    for name in release.FILES:
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test.py").write_text("")
    (tmp_path / "config.toml").write_text("# before the environment's overrides\n")
    (tmp_path / "infra_scripts" / "install.sh").write_text("#!/bin/sh\n")
    (tmp_path / "infra_scripts" / "install.sh").chmod(0o775)
    return tmp_path


def test_it_holds_what_an_instance_runs_and_nothing_else(checkout: Path) -> None:
    packed = release.pack(STACK, CONFIGURATION, checkout)
    with tarfile.open(fileobj=io.BytesIO(packed.data)) as archive:
        members = {each.name: each for each in archive}
        assert list(members) == sorted(
            [
                *(f"{folder}/code.py" for folder in release.FOLDERS),
                *release.FILES,
                "config.toml",
                "infra_scripts/install.sh",
            ]
        )
        configuration = archive.extractfile("config.toml")
        assert configuration
        assert configuration.read().decode() == CONFIGURATION
    assert members["infra_scripts/install.sh"].mode == 0o755
    assert {each.mode for name, each in members.items() if not name.endswith(".sh")} == {0o644}
    assert {(each.uid, each.gid, each.mtime) for each in members.values()} == {(0, 0, 0)}
    assert packed.release.sha256 == hashlib.sha256(packed.data).hexdigest()
    assert packed.release.key == f"releases/{packed.release.sha256}.tar.gz"


def test_the_same_files_are_the_same_bytes(checkout: Path) -> None:
    first = release.pack(STACK, CONFIGURATION, checkout)
    for path in checkout.rglob("*"):
        os.utime(path, (1, 1))
    (checkout / "common" / "code.py").chmod(0o600)
    assert release.pack(STACK, CONFIGURATION, checkout) == first
    other = release.pack(STACK, f"{CONFIGURATION}#\n", checkout)
    assert other.release.key != first.release.key


@pytest.mark.parametrize("missing", ["systemd", "requirements.lock"])
def test_an_incomplete_checkout_is_named(checkout: Path, missing: str) -> None:
    (checkout / missing).rename(checkout / "elsewhere")
    with pytest.raises(StackError, match=f"{missing}: .*complete checkout"):
        release.pack(STACK, CONFIGURATION, checkout)


def archive(stack: Stack, data: bytes) -> release.Archive:
    digest = hashlib.sha256(data).hexdigest()
    key = f"{stack.layout.releases}{digest}.tar.gz"
    return release.Archive(release.Release(key=key, sha256=digest), data)


def test_it_is_uploaded_once_and_compared(clients: Clients, stack: DeployedStack) -> None:
    one = archive(stack.stack, b"one")
    assert release.upload(clients.s3, stack.bucket, one)
    with recorded(clients) as called:
        assert not release.upload(clients.s3, stack.bucket, one)
    assert called == []
    stack.put(one.release.key, b"something else under its name")
    assert release.upload(clients.s3, stack.bucket, one)
    found = clients.s3.get_object(Bucket=stack.bucket, Key=one.release.key)
    assert found["Body"].read() == b"one"
    with instead(clients, "GetObject", (403, "AccessDenied")), pytest.raises(ClientError):
        release.upload(clients.s3, stack.bucket, one)


def test_some_are_kept_to_go_back_to(clients: Clients, stack: DeployedStack) -> None:
    every = [archive(stack.stack, b"%d" % n) for n in range(release.KEPT + 2)]
    order = [each.release.key for each in every]
    for each in every:
        release.upload(clients.s3, stack.bucket, each)
    stack.put("releases/notes.txt")
    again = every[0]  # deployed a second time: its bytes are among the oldest, and are used

    def a_day_apart(parsed: dict[str, Any], **_: object) -> None:
        """S3 tells times apart by the second, in which all of these may be put."""
        for each in parsed["Contents"]:
            if each["Key"] in order:
                each["LastModified"] = datetime(2026, 1, 1 + order.index(each["Key"]), tzinfo=UTC)

    clients.s3.meta.events.register("after-call.s3.ListObjectsV2", a_day_apart)
    try:
        removed = release.prune(clients.s3, stack.stack, again.release)
        assert sorted(removed) == sorted(order[1:3])
        assert release.prune(clients.s3, stack.stack, again.release) == []
    finally:
        clients.s3.meta.events.unregister("after-call.s3.ListObjectsV2", a_day_apart)
    listed = clients.s3.list_objects_v2(Bucket=stack.bucket, Prefix="releases/")["Contents"]
    assert {each["Key"] for each in listed} == {"releases/notes.txt", order[0], *order[3:]}
