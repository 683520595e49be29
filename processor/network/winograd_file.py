"""The compiled file of the engine ``winograd``: one record in a NumPy file.

Its first field is the library that winograd.c became, named after its instruction set; the others are
the weights as the library reads them (235 MB; with fc2 713 MB): of each convolution its bias and its
transformed kernel, of the dense layers what Keras has. Processes map the file, so all share one copy.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from processor.errors import NetworkError
from processor.network import native, weights_file, winograd
from processor.network.native import Compiler, InstructionSet
from processor.network.weights_file import layout
from processor.network.winograd import POINTS, matrices
from processor.network.winograd_code import ALIGNMENT

SOURCE = Path(__file__).with_name("winograd.c")
FIRST = "block1_conv1"  # reads pixels, and is not transformed


def version() -> str:
    """What determines the file besides the weights: the code, the instruction set and the compiler.

    Raises :class:`NetworkError` if this machine has no compiler or an unknown instruction set.
    """
    target, compiler = _means()
    modules = map(Path, (winograd.__file__, native.__file__, __file__))
    code = b"".join(path.read_bytes() for path in (SOURCE, *modules))
    return f"{hashlib.sha256(code).hexdigest()[:12]}-{target.name}-{compiler.name}"


def write(
    target: Path,
    weights: Path,
    digest: str,
    *,
    top: bool,
    instructions: InstructionSet | None = None,
) -> None:
    """Compile winograd.c for ``instructions`` (default: this machine's) and transform the weights.

    Holds one array in memory at a time. Raises :class:`NetworkError` as :func:`version` or with the
    compiler's complaint, WeightsError if ``weights`` cannot be read or have another digest.
    """
    best, compiler = _means()
    instructions = instructions or best
    library = native.compiled(SOURCE, instructions, compiler)
    shapes = {
        name: _shape(name, shape, instructions) for name, shape in layout(include_top=top).items()
    }
    size = len(library) + -len(library) % ALIGNMENT
    fields = [(name, "<f4", shape) for name, shape in shapes.items()]
    record = np.dtype([(instructions.name, "u1", (size,)), *fields])
    file = np.lib.format.open_memmap(target, mode="w+", dtype=record, shape=(1,))
    file[instructions.name][0, : len(library)] = np.frombuffer(library, np.uint8)
    for name, array in weights_file.read(weights, include_top=top, digest=digest):
        file[name][0] = _arranged(name, array, shapes[name])
    file.flush()


def read(path: Path) -> tuple[InstructionSet, bytes, dict[str, npt.NDArray[np.float32]]]:
    """What :func:`write` wrote: the library's instruction set, the library, and the weights.

    The weights are read-only, aligned and mapped into memory. Raises :class:`NetworkError` if the file
    cannot be read, or the library needs what this machine does not have.
    """
    try:
        file = np.load(path, mmap_mode="r")
        library, *names = file.dtype.names
        target = next(each for each in native.INSTRUCTION_SETS if each.name == library)
    except (OSError, ValueError, EOFError, TypeError, StopIteration) as error:
        raise NetworkError(f"cannot read the compiled network {path}: {error!r}") from error
    if target not in native.instruction_sets():
        raise NetworkError(
            f"{path.name} was compiled for {target.name}, which this machine's processor does not run: "
            "use machines of one kind for the driver and all workers, or set model.engine to ncnn"
        )
    return target, file[library][0].tobytes(), {name: file[name][0] for name in names}


def _means() -> tuple[InstructionSet, Compiler]:
    targets, compiler = native.instruction_sets(), native.compiler()
    if not targets:
        known = ", ".join(each.name for each in native.INSTRUCTION_SETS)
        raise NetworkError(f"this machine's processor runs none of {known}: {_other()}")
    if compiler is None:
        raise NetworkError(
            f"there is no C compiler here: install gcc or clang (apt-get install gcc), or {_other()}"
        )
    return targets[0], compiler


def _other() -> str:
    return "set model.engine to ncnn or tensorflow"


def _shape(name: str, shape: tuple[int, ...], target: InstructionSet) -> tuple[int, ...]:
    """The shape in which the library reads an array."""
    if len(shape) < 4:
        return shape
    inputs, outputs = shape[2:]
    if name.startswith(FIRST):
        return (9 * inputs, outputs)
    return (POINTS, outputs // target.outputs, inputs, target.outputs)


def _arranged(
    name: str, array: npt.NDArray[np.float32], shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    if array.ndim < 4:
        return array
    if name.startswith(FIRST):  # BGR; the library reads RGB
        return array[:, :, ::-1].transpose(2, 0, 1, 3).reshape(shape)
    points, groups, inputs, outputs = shape
    return matrices(array).reshape(points, inputs, groups, outputs).swapaxes(1, 2)
