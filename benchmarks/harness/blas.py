"""The BLAS kernel that NumPy multiplies with, and an environment in which it picks its own.

OpenBLAS picks a kernel for the processor it finds, unless ``OPENBLAS_CORETYPE`` forces one. Some
machines set that variable for old builds that do not know the processor; it can halve the speed of a
current NumPy. So no child of a benchmark inherits it, and every result names the kernel.

``python -m benchmarks.harness.blas`` prints the kernel of its own process.
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np  # loads the library that is asked for its kernel
from threadpoolctl import threadpool_info

FORCED_KERNEL = "OPENBLAS_CORETYPE"
THREADS = "OPENBLAS_NUM_THREADS"
SYSTEM = "libopenblas.so.0"  # OpenBLAS as Debian installs it, for programs other than NumPy


def unforced(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy of ``environment`` that lets OpenBLAS pick its kernel."""
    return {name: value for name, value in environment.items() if name != FORCED_KERNEL}


@dataclass(frozen=True, slots=True)
class Blas:
    """The BLAS of this process. ``kernel`` is OpenBLAS' name for it, such as ``SkylakeX``."""

    kernel: str
    threads: int


def loaded() -> Blas:
    """What NumPy has loaded here; kernels are joined where another package brought a second BLAS.

    A BLAS that has no named kernels is named itself.
    """
    libraries = [each for each in threadpool_info() if each["user_api"] == "blas"]
    kernels = {str(each.get("architecture") or each["internal_api"]) for each in libraries}
    threads = max((int(each["num_threads"]) for each in libraries), default=1)
    return Blas(", ".join(sorted(kernels)) or f"unknown (NumPy {np.__version__})", threads)


def system_kernel() -> str | None:
    """The kernel of :data:`SYSTEM` in this process; None where it is not installed."""
    try:
        name = ctypes.CDLL(SYSTEM).openblas_get_corename
    except (OSError, AttributeError):
        return None
    name.restype = ctypes.c_char_p
    found: bytes | None = name()
    return found.decode() if found else None


if __name__ == "__main__":
    print(loaded().kernel)
