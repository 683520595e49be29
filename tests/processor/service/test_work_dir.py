"""The working directory: one service at a time, whatever became of the one before, or of the folder."""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from processor.errors import PreflightError, ServiceError, WeightsError
from processor.service.work_dir import claimed
from tests.support.disks import small_disk

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import subprocess, sys
from pathlib import Path
from processor.service.work_dir import claimed
with claimed(Path(sys.argv[1])):
    subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)  # as the JVM outlives its service
    print("claimed", flush=True)
    sys.stdin.read()
"""


def test_another_service_is_named_until_it_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "a new one"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == b"claimed\n"
            with pytest.raises(PreflightError, match=rf"process {holder.pid} since .*WORK_DIR"):
                claimed(folder).__enter__()
            os.kill(holder.pid, signal.SIGKILL)
            holder.wait(10)
            with claimed(folder):
                assert f"process {os.getpid()} since" in (folder / "in-use-by").read_text()
        finally:
            os.killpg(holder.pid, signal.SIGKILL)
    with claimed(folder):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(PreflightError, match=r"file/work: Not a directory"),
        claimed(tmp_path / "file/work"),
    ):
        pass


def test_each_service_begins_with_an_empty_checkpoint(tmp_path: Path) -> None:
    offsets = tmp_path / "checkpoint" / "offsets"
    with claimed(tmp_path):
        offsets.mkdir()
        (offsets / "0").touch()
    with claimed(tmp_path):
        assert not list((tmp_path / "checkpoint").iterdir())


def test_a_lock_that_is_deleted_before_it_is_held_keeps_others_out_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, deleted = fcntl.flock, []

    def late(lock: int, operation: int) -> None:
        if not deleted:
            deleted.append((tmp_path / "in-use-by").unlink())
        flock(lock, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with claimed(tmp_path), pytest.raises(PreflightError, match="in use by process"):
        claimed(tmp_path).__enter__()
    assert deleted


@pytest.mark.parametrize("part", ["", "checkpoint", "spark"])
def test_a_folder_deleted_in_use_is_what_the_error_names(tmp_path: Path, part: str) -> None:
    folder = tmp_path / "work"

    def service() -> None:
        with claimed(folder) as claim:
            claim.check()
            shutil.rmtree(folder / part)
            with pytest.raises(ServiceError, match="was deleted"):
                claim.check()
            raise KeyError("what Spark makes of it")

    with pytest.raises(ServiceError, match=rf"^{folder / part} was deleted while the service ran"):
        service()


def test_a_service_whose_folder_is_anothers_by_now_is_told(tmp_path: Path) -> None:
    with contextlib.suppress(ServiceError), claimed(tmp_path / "work") as claim:
        shutil.rmtree(tmp_path / "work")
        with claimed(tmp_path / "work"), pytest.raises(ServiceError, match="was deleted"):
            claim.check()


def test_a_full_disk_is_named_unless_the_error_names_it(tmp_path: Path) -> None:
    def told(error: Exception) -> str:
        with pytest.raises(type(error) if named else ServiceError) as raised, claimed(tmp_path):
            raise error
        return str(raised.value)

    named = False
    for error in (
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        ServiceError("[STREAM_FAILED] terminated with exception: No space left on device"),
    ):
        assert told(error).startswith(f"no space left on the disk of service.work_dir {tmp_path}")
    named = True
    told(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x"))
    told(WeightsError("cannot keep weights in /cache (No space left on device)"))
    told(KeyError("something else"))


def test_a_disk_that_is_full_at_the_start_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 14) as disk:
        with pytest.raises(OSError, match="No space left"):
            (disk / "full").write_bytes(bytes(1 << 15))
        with (
            pytest.raises(PreflightError, match=rf"work_dir {disk}\S*: No space left on device"),
            claimed(disk / "work"),
        ):
            pass
        (disk / "full").unlink()
        with claimed(disk / "work"):
            pass
