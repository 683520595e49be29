"""The census: what a running service takes, by the role of each of its processes, and its folders."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support.roles import family

MB = 1_000_000

Figures = dict[str, float]  # by name: "driver.descriptors", "work/spark.files"


def of_processes(service: psutil.Process) -> Figures:
    """Of each role its processes, and their descriptors, threads and private memory."""
    figures: Figures = {}
    for role, members in {"driver": [service], **family(service)}.items():
        for each in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                counts = {
                    "processes": 1,
                    "descriptors": each.num_fds(),
                    "threads": each.num_threads(),
                    "private_mb": each.memory_full_info().uss / MB,
                }
                for name, count in counts.items():
                    figures[f"{role}.{name}"] = figures.get(f"{role}.{name}", 0) + count
    return figures


def of_heap(service: psutil.Process) -> Figures:
    """What lives on the JVM's heap after a full collection; nothing where there is no JDK."""
    if not shutil.which("jcmd"):
        return {}
    (jvm,) = family(service)["jvm"]
    command = ["jcmd", str(jvm.pid), "GC.class_histogram"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"jvm.live_mb": int(done.stdout.split()[-1]) / MB}


def of_folder(folder: Path) -> Figures:
    """Files and their bytes, in the folder itself and in each folder in it."""
    figures: Figures = {}
    for each in (folder, *filter(Path.is_dir, folder.iterdir())):
        name = str(each.relative_to(folder.parent))
        sizes = list(_sizes(each.iterdir() if each == folder else each.rglob("*")))
        figures |= {f"{name}.files": len(sizes), f"{name}.mb": sum(sizes) / MB}
    return figures


def _sizes(entries: Iterator[Path]) -> Iterator[int]:
    for each in entries:
        with contextlib.suppress(OSError):  # it has just been deleted
            if each.is_file():
                yield each.stat().st_size
