"""The weights file: VGG-16's arrays in network order in one plain .npz, and their digest.

Every source of weights is converted to this one format, so that engines read nothing else and need
neither Keras nor HDF5. Pure numpy; no pickles.
"""

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from processor.errors import WeightsError

Array = npt.NDArray[np.float32]  # one kernel or bias

_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions and their channels
_DENSE = (("fc1", 7 * 7 * 512), ("fc2", 4096))  # inputs; 224 x 224 pixels are pooled to 7 x 7
# NotImplementedError is what zipfile raises for an unknown compression.
_UNREADABLE = (OSError, zipfile.BadZipFile, KeyError, ValueError, EOFError, NotImplementedError)


def layout(*, include_top: bool) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array, in network order; kernels as Keras has them, channels last.

    The top is fc1 and fc2. ImageNet's classifier after them ("predictions") is not kept.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for block, (convolutions, width) in enumerate(_BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            shapes[f"block{block}_conv{number}/kernel"] = (3, 3, channels, width)
            shapes[f"block{block}_conv{number}/bias"] = (width,)
            channels = width
    for name, inputs in _DENSE if include_top else ():
        shapes[f"{name}/kernel"] = (inputs, 4096)
        shapes[f"{name}/bias"] = (4096,)
    return shapes


def write(
    path: Path, arrays: Iterable[tuple[str, Array]], *, include_top: bool, origin: str
) -> None:
    """Write ``arrays``, which must be those of :func:`layout` in its order, to ``path``.

    Holds one array at a time (fc1 has 411 MB). ``origin`` is named in errors. Raises WeightsError if
    an array is missing, misshapen or not finite, OSError if the file cannot be written; both leave a
    partial file.
    """
    given = iter(arrays)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, shape in layout(include_top=include_top).items():
            found, array = next(given, ("nothing", np.empty(0, np.float32)))
            if found != name:
                raise WeightsError(f"{origin} has {found} where VGG-16 has {name}: {_fix()}")
            array = np.ascontiguousarray(array, dtype="<f4")
            _check(name, array, shape, origin)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read(
    path: str | Path, *, include_top: bool, digest: str | None = None
) -> Iterator[tuple[str, Array]]:
    """The arrays of :func:`layout`, float32, one at a time; a file with a top can be read without.

    Raises WeightsError if the file is missing, damaged (each array has a checksum) or another
    network's. With ``digest`` the last step also raises it if that differs: nothing is verified
    until the iterator is exhausted.
    """
    found = hashlib.sha256()
    for name, array in _arrays(path, include_top=include_top):
        _add(found, name, array)
        yield name, array
    if digest is not None and found.hexdigest() != digest:
        raise WeightsError(
            f"the weights in {path} have digest {found.hexdigest()}, not {digest}: "
            "delete the file and start the service again, which makes it again"
        )


def digest_of(path: str | Path, *, include_top: bool) -> str:
    """SHA-256 (hex) over names, shapes and little-endian float32 bytes in network order.

    Equal weights have equal digests, whatever container they came in. Reads and verifies the whole
    file: 0.1 s, with the top 1 s. Raises like :func:`read`.
    """
    found = hashlib.sha256()
    for name, array in _arrays(path, include_top=include_top):
        _add(found, name, array)
    return found.hexdigest()


def _arrays(path: str | Path, *, include_top: bool) -> Iterator[tuple[str, Array]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for name, shape in layout(include_top=include_top).items():
                with archive.open(f"{name}.npy") as member:
                    array = np.lib.format.read_array(member, allow_pickle=False)
                    member.read(1)  # zipfile verifies the checksum only when it reaches the end
                _check(name, array, shape, str(path))
                yield name, array
    except FileNotFoundError as error:
        raise WeightsError(
            f"there is no weights file {path} on this machine: start the service again, or put "
            "cache_dir where all workers can read it"
        ) from error
    except _UNREADABLE as error:
        raise WeightsError(
            f"cannot read weights from {path} ({one_line(error)}): delete it if it is in the cache "
            "(it is made again at the next start), else replace it"
        ) from error


def _check(name: str, array: Array, shape: tuple[int, ...], origin: str) -> None:
    if array.shape != shape or array.dtype != np.float32:
        has = f"{array.dtype} {array.shape}"
        raise WeightsError(f"{name} of {origin} is {has}, in VGG-16 float32 {shape}: {_fix()}")
    # min() and max() propagate NaN and infinity without isfinite()'s temporary array of bools.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise WeightsError(f"{name} of {origin} has NaN or infinite values: {_fix()}")


def _add(digest: "hashlib._Hash", name: str, array: Array) -> None:
    digest.update(f"{name} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array, dtype="<f4").data)


def _fix() -> str:
    return "set model.weights to a file in which Keras saved its VGG16"


def one_line(error: BaseException) -> str:
    """The text of ``error`` for the middle of a sentence: one line, at most 300 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".")
