"""The compiled network: made once from the weights, compared with Keras, and kept.

The comparison runs in its own process with TensorFlow and takes ten seconds (fc2: half a minute and
5 GB); using the file needs neither. The file is keyed by everything that determines it: the engine's
version (with native code the source, the instruction set and the compiler), the layer, the input size
and the weights' digest. It is compared at the batch size in use.
"""

import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from processor.errors import ChildError, NetworkError
from processor.network import child, ncnn_graph, winograd_file
from processor.network.cache import locked, staging
from processor.network.spec import CompiledFile, NetworkSpec

log = logging.getLogger(__name__)

TOLERANCE = 1e-4  # the most that features may differ from Keras', see agreement.Agreement


class Compiler(Protocol):
    """What makes an engine's file; a module."""

    def version(self) -> str:
        """What determines the file besides the weights; NetworkError if it cannot be made here."""
        ...

    def write(self, target: Path, weights: Path, digest: str, *, top: bool) -> None:
        """Make the file; WeightsError if ``weights`` cannot be read or have another digest."""
        ...


COMPILERS: dict[str, Compiler] = {"winograd": winograd_file, "ncnn": ncnn_graph}  # by engine


def obtain(spec: NetworkSpec, cache_dir: Path) -> NetworkSpec:
    """``spec`` with the file that its (compiled) engine loads: from ``cache_dir``, else made.

    May be called by several processes at once; one makes the file, the others wait. Raises
    NetworkError if the network cannot be compiled here or its features differ from Keras' by more than
    TOLERANCE, WeightsError if the weights cannot be read; nothing is kept then.
    """
    path = cache_dir.resolve() / _name(spec)
    try:
        sha256 = _cached(path)
        if sha256 is None:
            with locked(path.parent):
                sha256 = _cached(path) or _make(spec, path)
    except OSError as error:
        raise NetworkError(
            f"cannot keep the compiled network in {cache_dir} ({error}): make it a folder that this "
            "user can write to, with room for it (0.3 GB; with fc2 2 GB), or choose another"
        ) from error
    return replace(spec, compiled=CompiledFile(str(path), sha256))


def _name(spec: NetworkSpec) -> str:
    engine = f"{spec.engine}-{COMPILERS[spec.engine].version()}"
    return f"{engine}-{spec.layer}-{spec.input_size}-{spec.weights_digest}.{spec.engine}"


def _record(path: Path) -> Path:
    return path.with_suffix(".json")


def _cached(path: Path) -> str | None:
    try:
        sha256 = json.loads(_record(path).read_text())["sha256"]
        if _sha256(path) == sha256:
            return str(sha256)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        pass
    log.warning("compiling the network again: %s is damaged", path)
    return None


def _make(spec: NetworkSpec, path: Path) -> str:
    log.info("compiling the network, once", extra={"engine": spec.engine, "model": spec.model_id})
    with staging(path.parent) as folder:
        made = folder / path.name
        weights = Path(spec.weights_path)
        write = COMPILERS[spec.engine].write
        write(made, weights, spec.weights_digest, top=spec.layer == "fc2")
        sha256 = _sha256(made)
        found = _agreement(replace(spec, compiled=CompiledFile(str(made), sha256)))
        log.info("the compiled network agrees with Keras", extra=found)
        _record(made).write_text(json.dumps({"sha256": sha256, **found}))
        made.replace(path)
        _record(made).replace(_record(path))
    return sha256


def _agreement(spec: NetworkSpec) -> dict[str, float]:
    try:
        found = child.run("processor.network.agreement", spec.to_json(), str(TOLERANCE))
    except ChildError as error:
        if error.reason:
            raise NetworkError(error.reason) from error
        raise NetworkError(
            f"the process that compares the compiled network with Keras failed: {error}: give it "
            "more memory (1.5 GB, with fc2 5 GB), or set model.engine to tensorflow"
        ) from error
    figures: dict[str, float] = json.loads(found)
    return figures


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
