"""What a worker makes of a HEIC decoder that is hostile, slow or dead."""

import contextlib
import os
import resource
import signal
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from processor.errors import RejectedImage, Unavailable
from processor.photos import heic as decoder
from processor.photos._heic_wire import ANSWER, ENDED, FAILED, NO_MEMORY, PIXELS, Request
from processor.photos.decode import decode
from processor.photos.heif import HEVC, Still
from tests.support.heif import heic, with_size
from tests.support.pictures import assert_scene, rejection, scene


@pytest.fixture(autouse=True, scope="module")
def _ended():
    yield
    decoder.close()


STILL = Still(HEVC, 640, 480, 640 * 480)
REQUEST = Request(1, 8, 3.0, 10**9, 5, 20, locked=True)


def answer(kind=PIXELS, bands=3, width=640, height=480, body=bytes(192), status=0):
    return ANSWER.pack(kind, bands, width, height) + body + ENDED.pack(status)


def test_right_answer_is_taken():
    for size in ((640, 480), (480, 640), (1, 1)):
        image, *upright = decoder._checked(answer(width=size[0], height=size[1]), STILL, REQUEST)
        assert image.size == (8, 8)
        assert tuple(upright) == size


@pytest.mark.parametrize(
    "forged",
    [
        answer(body=bytes(191)),
        answer(body=bytes(193)),
        answer(bands=2),
        answer(bands=4),
        answer(width=0),
        answer(width=2**31, height=2**31),
        answer(width=641),
        answer(width=3, height=641),
        answer(kind=9),
        ANSWER.pack(PIXELS, 3, 640, 480) + ENDED.pack(0),
        ENDED.pack(0),
        b"abc" + ENDED.pack(0),
    ],
)
def test_forged_answers_are_refused(forged):
    with pytest.raises((OSError, RejectedImage)) as caught:
        decoder._checked(forged, STILL, REQUEST)
    if isinstance(caught.value, RejectedImage):
        assert caught.value.reason == "corrupt"


def test_text_of_the_decoder_is_bounded_and_printable():
    with pytest.raises(OSError, match="unsupported bit depth"):
        decoder._checked(answer(FAILED, body=b"unsupported bit depth"), STILL, REQUEST)
    with pytest.raises(RejectedImage, match="too-large"):
        decoder._checked(answer(NO_MEMORY, body=b""), STILL, REQUEST)


def test_answer_that_does_not_end_is_cut_off(monkeypatch):
    with hostile(monkeypatch, "while True: os.write(0, bytes(1000))"):
        assert rejection(DATA).reason == "corrupt"


class hostile:
    """A decoder process whose children run a line of Python in place of decoding."""

    def __init__(self, monkeypatch, line, **limits):
        lines = [
            "import ctypes, os, signal, socket, subprocess, sys, threading, time",
            "from processor.photos import heic_child",
            f"def attack(data, request):\n    {line}\n    return b'', b'survived'",
            "heic_child._squashed = attack",
            "heic_child.main()",
        ]
        monkeypatch.setattr(decoder, "_PROGRAM", ("-P", "-c", "\n".join(lines)))
        for name, value in limits.items():
            monkeypatch.setattr(decoder, name, value)

    def __enter__(self):
        decoder.close()

    def __exit__(self, *_):
        decoder.close()


DATA = heic(scene())


@pytest.mark.parametrize(
    "line",
    [
        "open('/etc/passwd')",
        "open('/proc/self/environ')",
        "os.listdir('/')",
        "socket.socket()",
        "socket.socketpair()",
        "socket.socket(fileno=0).sendmsg([b''])",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "subprocess.run(['/bin/true'])",
        "os.kill(os.getppid(), 9)",
        "os.memfd_create('x')",
        "os.dup(0)",
        "os.setuid(0)",
        "time.sleep(0)",
        "ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)",
        "ctypes.CDLL(None).syscall(425, 1, 0)",  # io_uring_setup
        "ctypes.CDLL(None).mmap(0, 4096, 7, 34, -1, 0)",
        "ctypes.CDLL(None).mmap(0, 4096, 3, 33, -1, 0)",
        "ctypes.CDLL(None).mmap(0, 4096, 1, 2, 0, 0)",
        "ctypes.CDLL(None).mprotect(ctypes.c_void_p(id(data) & ~4095), 4096, 7)",
        "ctypes.CDLL(None).process_vm_readv(os.getppid(), 0, 0, 0, 0, 0)",
    ],
)
def test_forbidden_system_calls_kill_the_child_only(monkeypatch, line):
    with hostile(monkeypatch, line):
        rejected = rejection(DATA)
        assert rejected.reason == "corrupt"
        assert "system call" in rejected.detail
        running = decoder._running
        assert "system call" in rejection(DATA).detail
        assert decoder._running is running


@pytest.mark.parametrize(
    ("line", "reason", "word"),
    [
        ("while True: pass", "too-large", "1 s"),
        ("bytearray(10**10)", "too-large", "memory"),
        ("[bytearray(10**6) for _ in range(10**4)]", "too-large", "memory"),
        ("ctypes.string_at(0)", "corrupt", "crashed"),
        ("ctypes.CDLL(None).abort()", "corrupt", "crashed"),
        ("os._exit(3)", "corrupt", "crashed"),
        ("raise ValueError('odd\\n\\x1b[31m' + 'x' * 10**6)", "corrupt", "odd"),
        ("pass", "corrupt", "crashed"),
    ],
)
def test_faults_of_a_child_reject_its_photo(monkeypatch, line, reason, word):
    with hostile(monkeypatch, line, _LEAST_SECONDS=1):
        rejected = rejection(DATA)
    assert rejected.reason == reason
    assert word in rejected.detail


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("threading.Event().wait()", "4 s"),
        # Two seconds of a processor, unless the machine is so busy that they take four.
        ("signal.signal(24, signal.SIG_IGN)\n    while True: pass", "killed|4 s"),
    ],
)
def test_what_a_busy_machine_does_to_a_child_rejects_no_photo(monkeypatch, line, word):
    with (
        hostile(monkeypatch, line, _LEAST_SECONDS=1),
        pytest.raises(Unavailable, match=word),
    ):
        decode(DATA, 32)


def test_child_may_not_decode_more_than_was_declared():
    assert rejection(with_size(heic(Image.new("RGB", (2048, 2048))), 64, 64)).reason in {
        "corrupt",
        "too-large",
    }


def test_photo_is_decoded_by_a_new_process_if_the_old_one_died():
    assert_scene(decode(DATA, 32), tolerance=6)
    died = decoder._running._process
    died.kill()
    died.wait()
    assert_scene(decode(DATA, 32), tolerance=6)
    assert decoder._running._process.pid != died.pid


def test_process_that_is_killed_every_time_rejects_no_photo(monkeypatch):
    with hostile(monkeypatch, "pass"):
        monkeypatch.setattr(decoder._Decoder, "ask", lambda *_: b"")
        with pytest.raises(Unavailable, match="killed twice"):
            decode(DATA, 32)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_child_that_somebody_kills_rejects_no_photo(monkeypatch, number):
    with hostile(monkeypatch, "threading.Event().wait()"), ThreadPoolExecutor(1) as pool:
        decoding = pool.submit(decode, DATA, 32)
        while not decoding.done():  # the first that is seen may be one that ends
            if child := child_of_decoder():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, number)
            time.sleep(0.05)
        with pytest.raises(Unavailable, match="killed"):
            decoding.result(60)


def child_of_decoder():
    if decoder._running is None:
        return None
    pid = decoder._running._process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text() or 0)


def test_process_without_descriptors_to_spare_rejects_no_photo():
    decoder.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(Unavailable, match="Too many open files"):
            decode(DATA, 32)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert_scene(decode(DATA, 32), tolerance=6)


# Where the sandbox or the library is missing


HINDERED = """
from processor.photos import heic_child, sandbox
def prepare():
    raise sandbox.SandboxError(2, "libseccomp is not installed")
sandbox.prepare = prepare
heic_child.main()
"""


def test_without_a_sandbox_heic_is_refused_unless_allowed(monkeypatch):
    decoder.close()
    monkeypatch.setattr(decoder, "_PROGRAM", ("-P", "-c", HINDERED))
    with pytest.raises(Unavailable, match=r"libseccomp is not installed.*images\.unsandboxed_heic"):
        decode(DATA, 32)
    assert_scene(decode(DATA, 32, unsandboxed_heic=True), tolerance=6)
    decoder.close()


def test_decoder_that_does_not_start_is_named(monkeypatch):
    decoder.close()
    monkeypatch.setattr(decoder, "_PROGRAM", ("-c", "import no_such_library"))
    with pytest.raises(Unavailable, match="no_such_library"):
        decode(DATA, 32, unsandboxed_heic=True)
    decoder.close()


# The worker's processes and descriptors


def descriptors():
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())


def test_nothing_leaks():
    decode(DATA, 32)
    before = descriptors()
    for _ in range(20):
        decode(DATA, 32)
        rejection(DATA[:-1])
    assert descriptors() == before
    decoder.close()
    assert len(descriptors()) == len(before) - 1


def test_fork_of_a_worker_starts_its_own_decoder():
    decode(DATA, 32)
    before = decoder._running._process.pid
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            decode(DATA, 32)
            os.write(write, struct.pack("<i", decoder._running._process.pid))
            decoder.close()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        (other,) = struct.unpack("<i", pipe.read())
    assert os.waitpid(pid, 0)[1] == 0
    assert other != before
    assert_scene(decode(DATA, 32), tolerance=6)
    assert decoder._running._process.pid == before


def test_statuses_are_named():
    for status, reason in {
        -signal.SIGXCPU: "too-large",
        -signal.SIGSYS: "corrupt",
        -signal.SIGSEGV: "corrupt",
        1: "corrupt",
    }.items():
        assert decoder._death(status, REQUEST).reason == reason
