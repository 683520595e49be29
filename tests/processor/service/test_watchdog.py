"""The watchdog: in real processes, with limits of tenths of a second."""

import contextlib
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import scripts

ROOT = Path(__file__).resolve().parents[3]
GUARDED = """
import ctypes, os, sys, threading, time
from common import logs
from processor.service import watchdog
watchdog.CHECK_SECONDS = 0.05
watchdog.STACKS_SECONDS = 0.0
watchdog.FIRST_SECONDS = 0.2

def give_up(fault, look):
    look()
    print(fault, flush=True)
    os._exit(3)

logs.to_stdout("INFO")
dog = watchdog.Watchdog(0.5, give_up)
"""


def guarded(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return scripts.run(script, GUARDED, **environment)


def test_without_progress_it_gives_up_and_the_log_has_the_stacks() -> None:
    done = guarded("""
        def waits_for_an_answer():
            time.sleep(60)
        threading.Thread(target=waits_for_an_answer, daemon=True).start()
        dog.start()
        waits_for_an_answer()
        """)
    assert done.returncode == 3
    *log, fault = done.stdout.splitlines()
    assert "no progress for 0 s" in log[0]
    assert log[1].count("in waits_for_an_answer") == 2  # of both threads
    assert "see the stacks in the log" in fault


def test_with_progress_it_does_not() -> None:
    done = guarded("""
        dog.start()
        for _ in range(15):
            time.sleep(0.1)
            dog.progress()
        dog.stop()
        time.sleep(1)
        """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_deliberate_wait_is_no_standstill_but_its_end_is_awaited() -> None:
    done = guarded("""
        dog.start()
        dog.stopping(within_seconds=1.5)
        time.sleep(1.5)
        print("waited", flush=True)
        time.sleep(60)
        """)
    assert done.returncode == 3
    assert done.stdout.startswith("waited\n")


def test_a_pause_of_the_whole_process_is_no_standstill() -> None:
    done = guarded("""
        import signal, subprocess
        dog.start()
        code = "import os, sys, time; time.sleep(1.5); os.kill(int(sys.argv[1]), 18)"
        subprocess.Popen([sys.executable, "-c", code, str(os.getpid())])
        os.kill(os.getpid(), signal.SIGSTOP)
        dog.progress()
        dog.stop()
        """)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_thread_that_keeps_pythons_lock_is_caught_too() -> None:
    """Then no thread of Python's runs, the watchdog's neither."""
    done = guarded("""
        watchdog.SPARE_SECONDS = 0.5
        dog.start()
        time.sleep(0.2)
        ctypes.PyDLL(None).sleep(60)
        """)
    assert done.returncode == 1
    assert "most recent call first" in done.stderr


def told(address: str, listening: str, script: str) -> list[str]:
    """What systemd is told."""
    states: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, ThreadPoolExecutor() as pool:
        systemd.bind(listening)
        systemd.settimeout(0.1)
        run = pool.submit(guarded, script, NOTIFY_SOCKET=address)
        while not run.done():
            with contextlib.suppress(TimeoutError):
                states.append(systemd.recv(100).decode())
        systemd.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                states.append(systemd.recv(100).decode())
    return states


def test_systemd_hears_that_it_is_starting_ready_alive_and_stopping(tmp_path: Path) -> None:
    script = """
        dog.start(); time.sleep(0.2)
        dog.progress(); time.sleep(0.2); dog.progress()
        dog.stopping(100); time.sleep(0.1); dog.stop()
        """
    file = str(tmp_path / "notify")
    for address, listening in ((file, file), ("@fruits-test", "\0fruits-test")):
        heard = list(dict.fromkeys(told(address, listening, script)))  # each once, in order
        assert heard == [
            "EXTEND_TIMEOUT_USEC=60000000",
            "READY=1\nSTATUS=running",
            "WATCHDOG=1",
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=160000000",
        ]


def test_a_start_without_progress_never_becomes_ready(tmp_path: Path) -> None:
    file = str(tmp_path / "notify")
    heard = told(file, file, "dog.start(); time.sleep(60)")
    assert set(heard) == {"EXTEND_TIMEOUT_USEC=60000000", "STOPPING=1"}


def test_systemd_hears_nothing_of_life_once_it_gave_up(tmp_path: Path) -> None:
    file = str(tmp_path / "notify")
    states = told(file, file, "dog.start(); dog.progress(); time.sleep(60)")
    assert "WATCHDOG=1" in states
    assert states[-1] == "STOPPING=1"


def test_a_systemd_that_does_not_listen_is_no_fault() -> None:
    done = guarded("dog.start(); dog.stop()", NOTIFY_SOCKET="/none/such")
    assert (done.returncode, done.stdout) == (0, "")
