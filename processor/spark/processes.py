"""Processes: all that descend from this one, that is Spark's JVM and the Python processes it starts."""

import contextlib
import ctypes
import logging
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.folding import UNFOLDED
from common.logs import STACKS_SIGNAL

log = logging.getLogger(__name__)

_ended = 0  # the id of a child that had ended when reap_orphan looked last
_PR_SET_CHILD_SUBREAPER = 36  # see prctl(2)
_STATES = {"D": "waiting for a device", "R": "running", "S": "waiting", "T": "stopped", "Z": "dead"}


@dataclass(frozen=True, slots=True)
class Process:
    """A living process. ``handle`` is a descriptor of it, which cannot come to mean another one."""

    pid: int
    name: str
    state: str  # a letter of the kernel's
    handle: int

    @property
    def is_java(self) -> bool:
        return self.name == "java"

    @property
    def shows_stacks(self) -> bool:
        """Whether it catches the signal; any other process would die of it."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (STACKS_SIGNAL - 1) & 1)
        return False

    def send(self, number: int) -> None:
        """Send a signal; to one that has ended, none."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.handle, number)


def keep_orphans() -> None:
    """Become the parent of descendants whose own was killed, or :func:`descendants` would miss them."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphan(keep: int) -> None:
    """Reap a child that had ended at the call before, too; to be called every second or so.

    By then a child of our own is reaped by whoever started it, but for ``keep``, which is spared.
    """
    global _ended
    with contextlib.suppress(ChildProcessError):
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        ended = found.si_pid if found else 0
        if ended and ended == _ended != keep:
            os.waitpid(ended, os.WNOHANG)
        _ended = ended


@contextmanager
def descendants() -> Iterator[list[Process]]:
    """Our children, their children and so on, as of now."""
    parents = {pid: (parent, name, state) for pid, parent, name, state in _all()}
    family: list[Process] = []
    generation = {os.getpid()}
    try:
        while generation:
            children = {pid for pid, (parent, *_) in parents.items() if parent in generation}
            for pid in sorted(children):
                with contextlib.suppress(OSError):  # it has just ended
                    family.append(Process(pid, *parents[pid][1:], os.pidfd_open(pid)))
            generation = children
        yield family
    finally:
        for each in family:
            os.close(each.handle)


def show_stacks() -> None:
    """Have every descendant that can write the stacks of its threads to stderr; returns at once.

    One that was stopped (SIGSTOP) goes on by it.
    """
    with descendants() as family:
        for each in family:
            state = _STATES.get(each.state, each.state)
            log.error("process %d (%s) is %s", each.pid, each.name, state, extra=UNFOLDED)
            each.send(signal.SIGCONT)
            if each.is_java:
                each.send(signal.SIGQUIT)
            elif each.shows_stacks:
                each.send(STACKS_SIGNAL)


def end(seconds: float) -> None:
    """End all descendants by SIGTERM, after so many seconds by SIGKILL; returns when they have ended.

    The source's process releases its messages in this time.
    """
    with descendants() as family:
        for each in family:
            each.send(signal.SIGTERM)
        if left := _await(family, seconds):
            log.warning("killing processes that do not end", extra={"processes": len(left)})
            for each in left:
                each.send(signal.SIGKILL)
            _await(left, 1.0)


def _await(family: list[Process], seconds: float) -> list[Process]:
    """Wait until all have ended, so long at most; those that have not."""
    deadline = time.monotonic() + seconds
    left = {each.handle: each for each in family}
    poll = select.poll()
    for handle in left:
        poll.register(handle, select.POLLIN)
    while left and (rest := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(1000 * rest):
            poll.unregister(handle)
            del left[handle]
    return list(left.values())


def _all() -> Iterator[tuple[int, int, str, str]]:
    """Of every process: its id, its parent's, its name and its state."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                text = (entry / "stat").read_text(errors="replace")
                name, _, rest = text.partition("(")[2].rpartition(") ")
                state, parent = rest.split()[:2]
                yield int(entry.name), int(parent), name, state
