"""The machine of a benchmark: what figures mean nothing without."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness.packages import installed
from processor.spark.resources import cores

PACKAGES = (
    "tensorflow",
    "keras",
    "ncnn",
    "pyspark",
    "deltalake",
    "pyarrow",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
)


def describe() -> dict[str, Any]:
    """Processor, cores, memory, load and versions, JSON-able."""
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {
            "python": platform.python_version(),
            "java": _java_version(),
            **installed(PACKAGES),
        },
    }


def lines(machine: dict[str, Any]) -> str:
    """The same for humans; loud when others work on the machine."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    said = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}",
        versions,
    ]
    if machine["load_before"] > 0.5:
        said.append(
            f"CAUTION: the load average was {machine['load_before']} before it began; "
            "figures from a busy machine are too low"
        )
    return "\n".join(said)


def _java_version() -> str | None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None:
        return None
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "([^"]+)', answer.stderr)
    return found[1] if found else None


def _cpu_model() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()
