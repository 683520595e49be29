"""The cache folder: one process at a time, only complete files, nothing left of killed processes."""

import fcntl
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from processor.network.cache import locked, staging

ROOT = Path(__file__).resolve().parents[3]


def is_locked(folder: Path) -> bool:
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_the_folder_is_created_and_locked_while_it_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "of" / "the" / "service"
    with locked(folder):
        assert is_locked(folder)
    assert not is_locked(folder)
    with pytest.raises(KeyError), locked(folder):
        raise KeyError
    assert not is_locked(folder)


def test_callers_take_turns(tmp_path: Path) -> None:
    inside, most = [], []

    def call() -> None:
        with locked(tmp_path):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    callers = [threading.Thread(target=call) for _ in range(5)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert most == [1] * 5


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from processor.network.cache import locked, staging
folder = Path(sys.argv[1])
with locked(folder), staging(folder) as place:
    (place / "half").touch()
    print("ready", flush=True)
    time.sleep(600)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        assert is_locked(tmp_path)
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.glob("making-*/half"))
    with locked(tmp_path), staging(tmp_path) as place:
        assert list(place.iterdir()) == []
        assert list(tmp_path.glob("making-*")) == [place]
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]


def fail_in(folder: Path) -> None:
    with staging(folder) as place:
        (place / "half").touch()
        (place / "none").read_bytes()


def test_only_what_was_moved_out_of_staging_is_kept(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with locked(tmp_path):
        with staging(tmp_path) as place:
            assert place.parent == tmp_path  # on the same disk, so that a move is atomic
            for name in ("made", "scrap"):
                (place / name).touch()
            (place / "made").replace(tmp_path / "made")
        with pytest.raises(FileNotFoundError):
            fail_in(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {".lock", "kept", "made"}
