"""npz: named arrays as bytes, marked with their kind; no pickles."""

import io
from collections.abc import Iterable
from typing import Any

import numpy as np


def pack(kind: str, **arrays: Any) -> bytes:
    """The arrays as npz bytes marked with `kind`; equal arrays give equal bytes."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, kind=kind, **arrays)
    return file.getvalue()


def unpack(kind: str, data: bytes, names: Iterable[str]) -> dict[str, Any]:
    """The named arrays that `pack` was given, numbers and strings as Python's own. Raises ValueError
    for bytes that are damaged or of another kind."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            found = str(file["kind"])
            arrays = {name: file[name] for name in names if found == kind}
    except Exception as error:  # a damaged zip header fails in a dozen ways
        raise ValueError(f"these bytes are not {kind}: {error}") from error
    if found != kind:
        raise ValueError(f"these bytes are not {kind}: they are {found}")
    return {name: array if array.ndim else array.item() for name, array in arrays.items()}
