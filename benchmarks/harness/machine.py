"""The machine of a benchmark: without it a figure means nothing."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.harness.child import output_of
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
QUIET_LOAD = 0.5  # the highest load average at which a machine counts as idle

# The best that a processor has, by its flags in /proc/cpuinfo (x86: "flags", ARM: "Features").
_INSTRUCTION_SETS = {
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "avx": "AVX",
    "sse4_2": "SSE4.2",
    "asimd": "NEON",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What every result names."""

    cpu: str
    instruction_set: str
    blas_kernel: str  # NumPy's, in the environment that all children of a benchmark get
    cores: int
    memory_gib: float
    load_before: float
    system: str
    versions: dict[str, str]

    def lines(self) -> str:
        """For a person to read, with a warning if others are using the machine."""
        lines = [
            f"{self.cpu} ({self.instruction_set}), {self.cores} cores, {self.memory_gib} GiB, "
            f"{self.system}; BLAS kernel of NumPy: {self.blas_kernel}",
            ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        ]
        if self.load_before > QUIET_LOAD:
            lines.append(
                f"CAUTION: the load average was {self.load_before} at the start; "
                "figures from a busy machine are too low"
            )
        return "\n".join(lines)


def describe() -> Machine:
    """This machine, now."""
    load = os.getloadavg()[0]  # before anything is started here
    java = _java_version()
    return Machine(
        cpu=_cpu_model(),
        instruction_set=_instruction_set(),
        blas_kernel=output_of("benchmarks.harness.blas").strip(),
        cores=cores(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        load_before=round(load, 2),
        system=f"{platform.system()} {platform.release()}",
        versions={
            "python": platform.python_version(),
            **({"java": java} if java else {}),
            **installed(PACKAGES),
        },
    )


def _java_version() -> str | None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None:
        return None
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "([^"]+)', answer.stderr)
    return found[1] if found else None


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _instruction_set() -> str:
    flags = (_cpuinfo("flags") or _cpuinfo("Features") or "").split()
    return next(
        (name for flag, name in _INSTRUCTION_SETS.items() if flag in flags), platform.machine()
    )


def _cpuinfo(field: str) -> str | None:
    """What /proc/cpuinfo has in this field of the first processor."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(rf"^{field}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else None
