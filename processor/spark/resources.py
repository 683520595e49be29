"""Resources: the cores and the memory that this process may use."""

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits()])


def _limits() -> list[int]:
    """``memory.max`` (and the softer ``memory.high``) of our control group and its ancestors."""
    folder = _CGROUPS / _group()
    found = []
    for each in (folder, *folder.parents):
        for name in ("memory.max", "memory.high"):
            try:
                found.append(int((each / name).read_text()))
            except (OSError, ValueError):  # no such file, or "max"
                continue
        if each == _CGROUPS:
            break
    return found


def _group() -> str:
    """The name of our control group (version 2), empty if there is none."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("0::/") for line in lines if line.startswith("0::")), "")
