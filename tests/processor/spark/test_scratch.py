"""The scratch folder: each process's own, and gone with the first start after its death."""

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

from processor.spark import scratch

ROOT = Path(__file__).resolve().parents[3]
HOLDING = (
    "import sys; from pathlib import Path; from processor.spark import scratch;"
    "print(scratch.claim(Path(sys.argv[1])), flush=True); sys.stdin.read()"
)


def left_by_killed_processes(parent: Path) -> None:
    for name in ("blockmgr-1/0c", "spark-2", "artifacts-3"):
        (parent / name).mkdir(parents=True)
        (parent / name / "part").write_text("x")
    (parent / "liblz4-java-4.so").write_text("x")
    (parent / "elsewhere").symlink_to(parent.parent)
    with contextlib.chdir(parent), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(".5.sock")  # the whole path may be too long for a socket's


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("x")
    parent = tmp_path / "spark"
    left_by_killed_processes(parent)
    own = scratch.claim(parent)
    assert list(parent.iterdir()) == [own]
    assert list(own.iterdir()) == []
    assert (tmp_path / "keep").exists()


def test_only_this_user_can_enter_it(tmp_path: Path) -> None:
    own = scratch.claim(tmp_path / "spark")
    assert own.is_absolute()
    assert {each.stat().st_mode & 0o077 for each in (own, own.parent)} == {0}


def test_that_of_a_living_process_is_spared(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout
        theirs = Path(other.stdout.readline().strip())
        mine = scratch.claim(tmp_path)
        assert set(tmp_path.iterdir()) == {mine, theirs}
        other.kill()
        other.wait()
        another = scratch.claim(tmp_path)
        assert set(tmp_path.iterdir()) == {mine, another}
