"""The decoder process: what it knows of its worker, and that it never outlives it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from processor.photos import heic as decoder
from processor.photos import heic_child
from processor.photos._heic_wire import Request
from processor.photos.decode import decode
from tests.support.heif import heic
from tests.support.pictures import scene

DATA = heic(scene())


@pytest.fixture
def process():
    """The decoder process of this one, fresh, with a photo behind it."""
    decoder.close()
    decode(DATA, 32)
    yield Path("/proc") / str(decoder._running._process.pid)
    decoder.close()


def test_it_has_no_credentials(monkeypatch, process):
    decoder.close()
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "HOME",
    ):
        monkeypatch.setenv(name, "TELL-NOBODY")
    decode(DATA, 32)
    pid = decoder._running._process.pid
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"TELL-NOBODY" not in environment
    names = {each.partition(b"=")[0] for each in environment.split(b"\0") if each}
    assert names <= {b"PYTHONPATH", b"MALLOC_ARENA_MAX", b"LD_LIBRARY_PATH"}
    assert b"TELL-NOBODY" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_default_timeout_of_sockets_does_not_reach_it():
    """It would read a photo before it is there, and the photo be rejected for that."""
    decoder.close()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(60)
    try:
        for _ in range(20):
            decode(DATA, 32)
        flags = Path(f"/proc/{decoder._running._process.pid}/fdinfo/0").read_text().split()[3]
        assert not int(flags, 8) & os.O_NONBLOCK
    finally:
        socket.setdefaulttimeout(before)
        decoder.close()


def test_it_has_nothing_open_of_the_worker(tmp_path):
    decoder.close()
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        decode(DATA, 32)
        place = Path(f"/proc/{decoder._running._process.pid}")
        names = [str(each.readlink()) for each in (place / "fd").iterdir()]
    assert not [each for each in names if "secret" in each]
    assert (
        len(names) == 4
    )  # the worker's socket, /dev/null, stderr's pipe (closed by us), a selector
    assert str((place / "cwd").readlink()) == "/"
    decoder.close()


def test_it_has_a_session_of_its_own_and_no_child_left(process):
    pid = int(process.name)
    assert os.getsid(pid) == pid
    assert psutil.Process(pid).children() == []


WORKER = """
import os, sys, threading
from processor.photos import heic
from processor.photos.decode import decode
heic._PROGRAM = ("-P", "-c", sys.argv[1])
data = bytes.fromhex(sys.stdin.readline())
thread = threading.Thread(target=decode, args=(data, 32))
thread.start()
while heic._running is None:
    pass
print(heic._running._process.pid, flush=True)
thread.join()
print("decoded", flush=True)
threading.Event().wait()
"""
PLAIN = "from processor.photos import heic_child; heic_child.main()"
ENDLESS = """
from processor.photos import heic_child
def attack(data, request):
    while True: pass
heic_child._squashed = attack
heic_child.main()
"""


@pytest.mark.parametrize("program", [PLAIN, ENDLESS], ids=["idle", "decoding"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_and_its_children_end_with_the_worker(program, number):
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with worker:
        try:
            worker.stdin.write(DATA.hex() + "\n")
            worker.stdin.flush()
            child = psutil.Process(int(worker.stdout.readline()))
            if program == PLAIN:
                assert worker.stdout.readline() == "decoded\n"
            deadline = time.monotonic() + 20
            while program == ENDLESS and not child.children() and time.monotonic() < deadline:
                time.sleep(0.02)
            family = [child, *child.children()]
            worker.send_signal(number)
        finally:
            worker.kill()
    assert len(family) == 1 + (program == ENDLESS)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


def test_request_survives_the_trip():
    request = Request(50_000_000, 224, 3.0, 2**40, 55, 220, locked=True)
    assert len(request.pack()) == Request.SIZE
    assert Request.unpack(request.pack()) == request


def test_kernel_here_takes_the_filter():
    assert heic_child._hindrance() == ""
