"""Native code: the instruction sets of this machine, its compiler, and libraries in memory."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from processor.errors import NetworkError

COMPILE_SECONDS = 120  # it takes 2 s


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """What code is compiled for, under the name that compilers have for it."""

    name: str
    machine: str  # as platform.machine() has it
    lanes: int  # floats in a vector
    outputs: int  # channels of a convolution that are computed together, see winograd.c
    features: frozenset[str]  # that /proc/cpuinfo lists where the code can run


_AVX2 = frozenset(("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"))
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}

# The levels of the x86-64 psABI; the fastest first.
INSTRUCTION_SETS = (
    InstructionSet("x86-64-v4", "x86_64", 16, 64, _AVX512),
    InstructionSet("x86-64-v3", "x86_64", 8, 16, _AVX2),
    InstructionSet("armv8-a", "aarch64", 4, 16, frozenset({"asimd"})),
)


@lru_cache
def instruction_sets() -> tuple[InstructionSet, ...]:
    """Those that every core of this machine can run, the fastest first; none on an unknown machine."""
    machine, features = platform.machine(), _cpu_features()
    return tuple(
        each for each in INSTRUCTION_SETS if each.machine == machine and each.features <= features
    )


def _cpu_features() -> frozenset[str]:
    """Features that the kernel lists for all cores; it leaves out what it has not enabled."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    listed = [
        frozenset(value.split())
        for name, _, value in (line.partition(":") for line in lines)
        if name.strip() in ("flags", "Features")
    ]
    return frozenset.intersection(*listed) if listed else frozenset()


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler: how to call it, and its name with its version."""

    command: tuple[str, ...]
    name: str

    def options(self, target: InstructionSet) -> list[str]:
        """What tells it to compile for ``target``."""
        # clang halves vectors of 512 bits otherwise, and the code takes twice as long.
        wide = ["-mprefer-vector-width=512"] if target.lanes == 16 else []
        if not self.name.startswith("zig-"):
            return [f"-march={target.name}", *wide]
        # zig has other names for processors.
        name = "generic" if target.machine == "aarch64" else target.name.replace("-", "_")
        return [f"-mcpu={name}", *wide]


@lru_cache
def compiler() -> Compiler | None:
    """gcc or clang of this machine, else the package ziglang, which brings clang; else nothing."""
    for each, option in (("gcc", "-dumpfullversion"), ("clang", "-dumpversion")):
        path = shutil.which(each)
        if path and (version := _printed(path, option)):
            return Compiler((path,), f"{each}-{version}")
    if find_spec("ziglang"):
        zig = (sys.executable, "-m", "ziglang")
        if version := _printed(*zig, "version"):
            return Compiler((*zig, "cc"), f"zig-{version}")
    return None


def _printed(*command: str) -> str:
    """What a command prints; empty if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def compiled(source: Path, target: InstructionSet, by: Compiler) -> bytes:
    """The shared library that ``by`` makes of a C file, without the C library, for ``target``.

    The macros LANES and OUTPUTS tell the code about ``target``. Raises :class:`NetworkError` with the
    compiler's first complaint.
    """
    with TemporaryDirectory(prefix="fruits-compile-") as folder:
        library = Path(folder, "library.so")
        command = [
            *by.command,
            *("-std=gnu11", "-O3", *by.options(target)),
            *(f"-DLANES={target.lanes}", f"-DOUTPUTS={target.outputs}"),
            *("-shared", "-fPIC", "-ffreestanding", "-nostdlib", "-fvisibility=hidden"),
            *(str(source), "-o", str(library)),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NetworkError(f"{by.name} cannot compile {source.name}: {error}") from error
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line]
            reason = lines[0] if lines else f"it ended with status {done.returncode}"
            raise NetworkError(f"{by.name} cannot compile {source.name}: {reason}")
        return library.read_bytes()


@lru_cache
def load(library: bytes) -> ctypes.CDLL:
    """The library's functions, callable from now on; they release the GIL.

    It is loaded from memory, so the bytes that the caller verified are the ones that run. Raises
    :class:`NetworkError`.
    """
    # Left open: the C library takes two files for one if both had this path.
    descriptor = os.memfd_create("network", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(library)
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except OSError as error:
        raise NetworkError(f"the compiled network cannot be loaded here: {error}") from error
