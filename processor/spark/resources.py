"""Resources: the cores and the memory that this process may use."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_CGROUPS = Path("/sys/fs/cgroup")


class Slots(NamedTuple):
    """Tasks that may run at a time."""

    tasks: int  # in all
    each: int  # on one machine


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits()])


def memory_used() -> float:
    """The share of memory in use, without what the kernel can drop at once: 0 to 1, or a bit more.

    The machine's, or a control group's of its limit, whichever is more. Raises OSError without /proc.
    """
    machine = _pairs(Path("/proc/meminfo"))
    shares = [1 - machine["MemAvailable:"] / machine["MemTotal:"]]
    for folder, limit in _limited():
        with suppress(OSError, ValueError, KeyError):
            used = int((folder / "memory.current").read_text())
            counts = _pairs(folder / "memory.stat")
            cached = counts["inactive_file"] + counts["active_file"]  # as in MemAvailable
            shares.append((used - cached) / limit)
    return max(shares)


def _pairs(file: Path) -> dict[str, int]:
    """Names and numbers, one of each at the beginning of every line."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {name: int(number) for name, number, *_ in lines}


def _limits() -> list[int]:
    return [limit for _, limit in _limited()]


def _limited() -> Iterator[tuple[Path, int]]:
    """``memory.max`` (and the softer ``memory.high``) of our control group and its ancestors."""
    folder = _CGROUPS / _group()
    for each in (folder, *folder.parents):
        for name in ("memory.max", "memory.high"):
            with suppress(OSError, ValueError):  # no such file, or "max"
                yield each, int((each / name).read_text())
        if each == _CGROUPS:
            break


def _group() -> str:
    """The name of our control group (version 2), empty if there is none."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("0::/") for line in lines if line.startswith("0::")), "")
