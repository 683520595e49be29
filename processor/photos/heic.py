"""HEIC photos, decoded in a process apart, because their decoder is hostile ground.

libheif and libde265 have had holes through which a photo took the process (CVE-2026-84383). So each
worker has one decoder process (:mod:`.heic_child`), started on first use, that knows no credentials and
forks a locked-up child for each photo. A child's answer is as hostile as the photo, and checked here.
"""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

from PIL import Image

from processor.errors import PhotoError, RejectedImage, Unavailable
from processor.photos._heic_wire import ANSWER, ENDED, NO_MEMORY, PIXELS, TIMED_OUT, Request
from processor.photos.footprint import Footprint
from processor.photos.heif import Still

_BYTES_PER_PIXEL = (17, 20)  # measured: 8 to 16.4, most in 10 bits without subsampling; the limit
_BASE_BYTES = 64_000_000  # addresses of a thread and small pictures; a quarter is touched
_LEAST_SECONDS = 5
_PIXELS_PER_SECOND = 2_000_000  # measured: 20,000,000
_START_SECONDS = 60
_PROGRAM = ("-P", "-m", "processor.photos.heic_child")  # -P: nothing of the working directory
# What a process does to itself. By any other signal somebody else has killed it.
_CRASHES = {
    *(signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP),
    *(signal.SIGSYS, signal.SIGXCPU),
}
_MODES = {1: "L", 3: "RGB", 4: "RGBa"}

_lock = threading.Lock()
_running: "_Decoder | None" = None


def footprint(data: bytes, still: Still) -> Footprint:
    """Bytes that a child takes: of any honest file that declares this, and the most that it may."""
    usual, most = (2 * len(data) + each * still.pixels for each in _BYTES_PER_PIXEL)
    return Footprint(_BASE_BYTES // 4 + usual, _BASE_BYTES + most)


def decode(
    data: bytes, still: Still, side: int, gap: float | None, *, unlocked: bool = False
) -> tuple[Image.Image, int, int]:
    """The photo squashed to side x side (L, RGB or RGBa), and its upright width and height.

    Raises RejectedImage; Unavailable if this machine is the reason; OSError with what the decoder says.
    `unlocked` decodes even where the kernel cannot confine the child.
    Called from several threads.
    """
    cpu = _LEAST_SECONDS + still.pixels // _PIXELS_PER_SECOND
    memory = footprint(data, still).worst
    for _ in range(2):  # the second time with a new process
        decoder = _decoder()
        if decoder.refusal:
            _drop(decoder)  # the next photo tries again, in case the machine was only slow
            raise Unavailable(decoder.refusal)
        if decoder.hindrance and not unlocked:
            raise Unavailable(_refusal(decoder.hindrance))
        request = Request(len(data), side, gap or 0, memory, cpu, 4 * cpu, not decoder.hindrance)
        try:
            raw = decoder.ask(request, data)
        except OSError:
            raw = b""
        if len(raw) >= ENDED.size:
            return _checked(raw, still, request)
        _drop(decoder)
    raise Unavailable("its decoder was killed twice; free some memory, or scale it down")


def _refusal(hindrance: str) -> str:
    cause = f"is HEIC, and its decoder cannot be locked up here: {hindrance}"
    return f"{cause}; save it as JPEG or set images.unsandboxed_heic"


def _checked(raw: bytes, still: Still, request: Request) -> tuple[Image.Image, int, int]:
    """The answer of a child, which a photo may have forged. Raises as :func:`decode` does."""
    answer, (status,) = raw[: -ENDED.size], ENDED.unpack(raw[-ENDED.size :])
    if status or len(answer) < ANSWER.size:
        raise _death(status, request)
    kind, bands, width, height = ANSWER.unpack_from(answer)
    body = answer[ANSWER.size :]
    if kind == NO_MEMORY:
        cause = (
            f"decoding takes more memory than its size explains ({request.memory_bytes:,} bytes)"
        )
        raise RejectedImage("too-large", f"{cause}; save it as JPEG")
    if kind != PIXELS:
        raise OSError(body[:300].decode(errors="replace"))
    fits = 0 < width * height <= still.width * still.height
    fits = fits and max(width, height) <= max(still.width, still.height)
    if not fits or bands not in _MODES or len(body) != request.side**2 * bands:
        raise OSError(f"the decoder made {width:,} x {height:,} pixels of {bands} bands of it")
    return Image.frombytes(_MODES[bands], (request.side, request.side), body), width, height


def _death(status: int, request: Request) -> PhotoError:
    if status == TIMED_OUT:
        return Unavailable(f"decoding took more than {request.wall_seconds} s; free a processor")
    if status == -signal.SIGXCPU:
        cause = f"decoding takes more than {request.cpu_seconds} s of a processor"
        return RejectedImage("too-large", f"{cause}; scale it down or save it as JPEG")
    if status < 0 and -status not in _CRASHES:
        return Unavailable("its decoder was killed; free some memory, or scale it down")
    if status == -signal.SIGSYS:
        cause = "its decoder made a system call that processor/photos/sandbox.py forbids"
        return RejectedImage("corrupt", f"{cause}, which a hostile file causes; replace the file")
    return RejectedImage("corrupt", f"its decoder crashed (status {status}); replace the file")


class _Decoder:
    """The worker's decoder process. `refusal`: it did not start; `hindrance`: it has no sandbox."""

    def __init__(self) -> None:
        self.refusal = ""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.settimeout(None)  # socket.setdefaulttimeout() would have made it otherwise
        # Of the environment only what Python needs to find its files: no credentials.
        environment = {
            # Of a cluster's executor they are relative to its working directory.
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path))),
            "MALLOC_ARENA_MAX": "1",
        }
        if path := os.environ.get("LD_LIBRARY_PATH"):
            environment["LD_LIBRARY_PATH"] = path
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *_PROGRAM],
                env=environment,
                cwd="/",
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        self._socket.settimeout(_START_SECONDS)
        hello = b""
        with contextlib.suppress(OSError):
            hello = self._socket.recv(1000)
        self.hindrance = hello.decode(errors="replace").strip("\0")
        if not hello:
            self._process.kill()
            _, errors = self._process.communicate()
            last = errors.decode(errors="replace").strip().rpartition("\n")[2]
            self.refusal = f"is HEIC, and its decoder does not start: {last}; save it as JPEG"
        if self._process.stderr:
            self._process.stderr.close()

    def ask(self, request: Request, data: bytes) -> bytes:
        """What comes back for a photo. Raises OSError if the process is gone or does not answer."""
        most = ANSWER.size + request.side**2 * 4 + 300 + ENDED.size
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                theirs.settimeout(None)
                socket.send_fds(self._socket, [request.pack()], [theirs.fileno()])
            ours.settimeout(request.wall_seconds + 10)
            # If the child died early, its status tells.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                ours.sendall(data)
            parts = []
            while most > 0 and (part := ours.recv(most)):
                parts.append(part)
                most -= len(part)
            return b"".join(parts)

    def close(self) -> None:
        """End the process; it kills its children."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """In a fork of the worker: this process is not ours, and must not be kept alive by us."""
        self._socket.close()
        self._process.returncode = 0


def _decoder() -> _Decoder:
    global _running
    with _lock:
        if _running is None:
            _running = _Decoder()
        return _running


def _drop(decoder: _Decoder) -> None:
    global _running
    with _lock:
        if _running is decoder:
            _running = None
            decoder.close()


def _after_fork() -> None:
    global _running, _lock
    _lock = threading.Lock()
    if _running:
        _running.forget()
        _running = None


def close() -> None:
    """End this process's decoder, if it has one; the next photo starts another."""
    if _running:
        _drop(_running)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close)
