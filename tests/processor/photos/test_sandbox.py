"""The sandbox by itself; what it keeps a decoder from is in test_heic."""

import contextlib
import os
import resource
import signal

import psutil
import pytest

from processor.photos import sandbox


def outcome(function):
    """How a fork ends that runs a function: its exit status, or minus the signal."""
    pid = os.fork()
    if not pid:
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_filter_lets_a_process_compute_and_ends_it_otherwise():
    sandbox.prepare()

    def compute():
        sandbox.enter()
        bytearray(10_000_000)

    def look():
        sandbox.enter()
        os.stat("/")  # noqa: PTH116

    assert outcome(compute) == 0
    assert outcome(look) == -signal.SIGSYS


def test_limits():
    space = psutil.Process().memory_info().vms + 10**8

    def check():
        sandbox.limit(space, 7)
        assert resource.getrlimit(resource.RLIMIT_AS) == (space, space)
        assert resource.getrlimit(resource.RLIMIT_CPU) == (7, 8)
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
            assert resource.getrlimit(kind) == (0, 0)
        with contextlib.suppress(MemoryError):
            bytearray(10**9)
            os._exit(2)

    assert outcome(check) == 0


def test_no_library_is_named(monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(sandbox.ctypes, "CDLL", absent)
    with pytest.raises(sandbox.SandboxError) as caught:
        sandbox.prepare.__wrapped__()
    assert caught.value.strerror == "libseccomp is not installed"


def test_unknown_system_call_is_named(monkeypatch):
    monkeypatch.setattr(sandbox, "_ALLOWED", ("no_such_call",))
    with pytest.raises(sandbox.SandboxError) as caught:
        sandbox.prepare.__wrapped__()
    assert "no_such_call" in caught.value.strerror


def test_refusal_of_the_kernel_is_raised(monkeypatch):
    class Library:
        @staticmethod
        def seccomp_load(rules):
            return -22

    monkeypatch.setattr(sandbox, "prepare", lambda: (Library, None))
    with pytest.raises(sandbox.SandboxError, match="Invalid argument"):
        sandbox.enter()
