"""The process that decodes HEIC: `python -m processor.photos.heic_child`, started by :mod:`.heic`.

Descriptor 0 is a socket to the worker. For each photo it brings a message and another socket, on which
the photo comes and the pixels go. Each photo gets a child of its own, forked, bounded and locked up
before it reads the first byte, so that a hostile photo meets neither credentials nor another photo.
The process ends, with its children, when the worker does.
"""

import contextlib
import gc
import os
import selectors
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import pillow_heif
from PIL import Image

from processor.photos import sandbox
from processor.photos._heic_wire import ANSWER, ENDED, FAILED, NO_MEMORY, PIXELS, TIMED_OUT, Request


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    pidfd: int
    channel: socket.socket
    deadline: float


def main() -> None:
    """Report what hinders a sandbox (nothing, as a rule), then serve the worker to its end."""
    pillow_heif.options.DECODE_THREADS = 0
    pillow_heif.options.THUMBNAILS = pillow_heif.options.DEPTH_IMAGES = False
    with contextlib.suppress(OSError):  # if memory runs out, the kernel shall end this, no worker
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    gc.freeze()
    with socket.socket(fileno=0) as worker:
        worker.send(_hindrance().encode() or b"\0")
        _serve(worker)


def _hindrance() -> str:
    """Why a child cannot be locked up here; empty if it can."""
    try:
        sandbox.prepare()
    except sandbox.SandboxError as error:
        return str(error.strerror)
    pid = os.fork()
    if not pid:
        code = 0
        try:
            sandbox.enter()
        except sandbox.SandboxError as error:
            code = error.errno or 1
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"the kernel takes no seccomp filter ({os.strerror(code)})" if code else ""


def _serve(worker: socket.socket) -> None:
    children: dict[int, _Child] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(worker, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            waits = [max(0.0, child.deadline - now) for child in children.values()]
            for key, _ in selector.select(min(waits, default=None)):
                if key.fd in children:
                    selector.unregister(key.fd)
                    _reap(children.pop(key.fd))
                    continue
                message, descriptors, _, _ = socket.recv_fds(worker, Request.SIZE, 1)
                if not message:  # the worker has ended, and with this process its children do
                    return
                child = _start(Request.unpack(message), socket.socket(fileno=descriptors[0]))
                children[child.pidfd] = child
                selector.register(child.pidfd, selectors.EVENT_READ)
            for child in [each for each in children.values() if each.deadline <= time.monotonic()]:
                selector.unregister(child.pidfd)
                _reap(children.pop(child.pidfd), late=True)


def _start(request: Request, channel: socket.socket) -> _Child:
    pid = os.fork()
    if not pid:
        try:
            _decode(request, channel)
        finally:
            os._exit(1)
    deadline = time.monotonic() + request.wall_seconds
    return _Child(pid, os.pidfd_open(pid), channel, deadline)


def _reap(child: _Child, *, late: bool = False) -> None:
    if late:
        os.kill(child.pid, 9)
    _, status = os.waitpid(child.pid, 0)
    os.close(child.pidfd)
    code = TIMED_OUT if late else os.waitstatus_to_exitcode(status)
    with child.channel, contextlib.suppress(OSError):  # the worker may have given up
        child.channel.settimeout(1)
        child.channel.sendall(ENDED.pack(code))


def _decode(request: Request, channel: socket.socket) -> None:
    """In the child: from the photo on descriptor 0 to the answer on it. Never returns."""
    sandbox.die_with_parent()
    os.dup2(channel.fileno(), 0)
    os.closerange(1, os.sysconf("SC_OPEN_MAX"))
    sandbox.limit(_address_space() + request.memory_bytes, request.cpu_seconds)
    if request.locked:
        sandbox.enter()
    try:
        _write(*_squashed(_read(request.length), request))
    except MemoryError:
        _write(ANSWER.pack(NO_MEMORY, 0, 0, 0), b"")
    except BaseException as error:
        text = str(error) or type(error).__name__
        _write(ANSWER.pack(FAILED, 0, 0, 0), text.encode(errors="replace")[:300])
    os._exit(0)


def _squashed(data: bytes, request: Request) -> tuple[bytes, bytes]:
    """The primary image, turned as irot and imir say (by libheif), squashed to size x size."""
    file = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
    photo = file[file.primary_index]
    pixels, mode = photo.data, photo.mode
    if mode == "I;16":
        pixels, mode = bytes(pixels[1::2]), "L"
    image = Image.frombuffer(mode, photo.size, pixels, "raw", mode, 0, 1)
    if mode in ("LA", "RGBA"):
        image = image.convert("RGBA").convert("RGBa")  # colours times alpha: those may be averaged
    box = (0, 0, *image.size)
    side = request.side
    small = image.resize((side, side), Image.Resampling.BILINEAR, box, request.gap or None)
    return ANSWER.pack(PIXELS, len(small.getbands()), *image.size), small.tobytes()


def _address_space() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _read(length: int) -> bytes:
    parts = []
    while length and (part := os.read(0, length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _write(*parts: bytes) -> None:
    rest = memoryview(b"".join(parts))
    while rest:
        rest = rest[os.write(0, rest) :]


if __name__ == "__main__":
    main()
