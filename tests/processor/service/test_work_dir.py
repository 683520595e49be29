"""The working directory: one service at a time, whatever became of the one before."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from processor.errors import PreflightError
from processor.service.work_dir import claimed

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
