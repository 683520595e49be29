"""A process that gives up nearly everything: for decoders of which a file may take control.

After :func:`enter` a process can compute, take memory up to its limit, run threads, and use the
descriptors that it has open. It can open neither files nor sockets, start no program, see or signal no
other process, and never take that back. Any other system call kills it.

libseccomp is called by ctypes: it has no binding on PyPI that is kept, its own is for the system's
Python only, and five functions do. It comes with every systemd and apt.
"""

import ctypes
import errno
import mmap
import os
import resource
import signal
from functools import cache

_ALLOWED = (
    *("read", "write"),  # on descriptors that are open
    *("brk", "munmap", "mremap", "madvise"),  # memory; mmap and mprotect: see below
    *("futex", "set_robust_list", "rseq", "sched_yield", "exit"),  # libde265 decodes in a thread
    *("rt_sigprocmask", "rt_sigaction", "rt_sigreturn"),  # pthread_create; SIGKILL stays
    *("clock_gettime", "gettimeofday", "getpid", "gettid"),  # tell nothing worth hiding
    *("restart_syscall", "exit_group"),
)
_REFUSED = {  # with an error that callers know; what remains of abort() is a crash
    "clone3": errno.ENOSYS,  # its flags lie in memory, where no filter sees them: glibc then takes clone
    "tgkill": errno.EPERM,
    "prctl": errno.EPERM,  # glibc names its memory
    "sched_getaffinity": errno.EPERM,
}
_KILL_PROCESS, _ALLOW, _ERRNO = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
_EQUAL, _MASKED_EQUAL = 4, 7
_CLONE_THREAD = 0x1_0000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


class SandboxError(OSError):
    """This machine cannot confine a process; the message says why."""


class _Compare(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; to be called right after a fork."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def limit(memory_bytes: int, cpu_seconds: int) -> None:
    """Bound address space and CPU time (SIGXCPU, then SIGKILL); allow no new files and no core dump."""
    bounds = {
        resource.RLIMIT_AS: (memory_bytes, memory_bytes),
        resource.RLIMIT_CPU: (cpu_seconds, cpu_seconds + 1),
        resource.RLIMIT_NOFILE: (0, 0),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, pair in bounds.items():
        resource.setrlimit(kind, pair)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # nor by a handler of core dumps


def enter() -> None:
    """Install the filter, for good. Raises :class:`SandboxError` if the kernel does not take it."""
    library, rules = prepare()
    if error := library.seccomp_load(rules):
        raise SandboxError(-error, f"the kernel takes no seccomp filter ({os.strerror(-error)})")


@cache
def prepare() -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    """libseccomp and the rules, for :func:`enter` in a fork. Raises :class:`SandboxError`."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise SandboxError(errno.ENOENT, "libseccomp is not installed") from error
    library.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_KILL_PROCESS)))

    def add(action: int, name: str, *compares: tuple[int, int, int, int]) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        array = (_Compare * len(compares))(*(_Compare(*each) for each in compares))
        code = library.seccomp_rule_add_array(
            rules, ctypes.c_uint32(action), number, len(array), array
        )
        if code:
            raise SandboxError(-code, f"libseccomp knows no {name} ({os.strerror(-code)})")

    for name in _ALLOWED:
        add(_ALLOW, name)
    for name, code in _REFUSED.items():
        add(_ERRNO | code, name)
    never_code = (
        2,
        _MASKED_EQUAL,
        mmap.PROT_EXEC,
        0,
    )  # the third argument: what memory may be used for
    private = (3, _MASKED_EQUAL, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, mmap.MAP_ANONYMOUS)
    add(_ALLOW, "mmap", never_code, private)
    add(_ALLOW, "mprotect", never_code)
    add(_ALLOW, "clone", (0, _MASKED_EQUAL, _CLONE_THREAD, _CLONE_THREAD))  # a thread, no process
    return library, rules
