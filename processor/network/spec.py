"""The network: VGG-16 up to one of its layers, from pixels to features.

Keras is the source of truth: it builds the network, and every engine must agree with it.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from processor.errors import NetworkError
from processor.photos.decode import PREPROCESSING, PREPROCESSING_FULL, Pixels

Features = npt.NDArray[np.float32]  # (photos, dimension)
Input = npt.NDArray[np.float32]  # (photos, height, width, 3): what VGG-16 reads

IMAGENET_MEAN_RGB = np.array([123.68, 116.779, 103.939], dtype=np.float32)
LAYERS = {"avg_pool": 512, "max_pool": 512, "fc2": 4096}  # layer -> features of one photo


@dataclass(frozen=True)
class CompiledFile:
    """A network with its weights in an engine's format, compared with Keras by :mod:`.compiled`."""

    path: str  # on the driver's machine; Spark ships it to others under the same file name
    sha256: str  # of its bytes; a file with another is not loaded

    def verified(self) -> Path:
        """The path, after the digest has been verified. Raises :class:`NetworkError`."""
        path = Path(self.path)
        try:
            with path.open("rb") as opened:
                found = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise NetworkError(
                f"there is no compiled network {self.path} on this machine ({error.strerror}): start "
                "the service again, which compiles it"
            ) from error
        if found != self.sha256:
            raise NetworkError(
                f"{path} has SHA-256 {found}, not {self.sha256}: delete it and start the service again"
            )
        return path


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that determines the features, and how to compute them; hashable and picklable.

    Made by the driver from the validated configuration. Raises ValueError for impossible values.
    """

    weights_path: str  # written by processor.network.weights_file; on the machine that loads it
    weights_digest: str  # see weights_file.digest_of; weights with another are not loaded
    layer: str  # one of LAYERS
    input_size: int  # pixels on each side, at least 32; with fc2 224
    engine: str = "tensorflow"  # one of processor.network.engines
    threads: int = 0  # 0: one for each core that the process may use
    batch_size: int = 0  # photos that the network takes at once; 0: chosen by the engine
    preprocessing: str = PREPROCESSING  # PREPROCESSING_FULL if photos are decoded in full
    compiled: CompiledFile | None = None  # what a compiled engine loads instead of the weights

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise ValueError(f"no layer {self.layer!r}: choose one of {', '.join(LAYERS)}")
        if self.input_size < 32:
            raise ValueError(f"input_size {self.input_size} is below 32, VGG-16's minimum")
        if self.layer == "fc2" and self.input_size != 224:
            raise ValueError(f"layer 'fc2' needs input_size 224, not {self.input_size}")
        if self.threads < 0 or self.batch_size < 0:
            raise ValueError(
                f"threads and batch_size must be at least 0, not {self.threads} and {self.batch_size}"
            )
        if not re.fullmatch("[0-9a-f]{64}", self.weights_digest):
            raise ValueError(f"weights_digest {self.weights_digest!r} is not a SHA-256 in hex")
        if self.preprocessing not in (PREPROCESSING, PREPROCESSING_FULL):
            raise ValueError(f"no preprocessing {self.preprocessing!r} in processor.photos.decode")

    @property
    def model_id(self) -> str:
        """The name in every stored row: of everything that determines features, and nothing else."""
        digest = self.weights_digest[:16]
        return f"vgg16-{self.layer}-{self.input_size}-{digest}-{self.preprocessing}"

    @property
    def file(self) -> str:
        """The path of the file that the engine loads."""
        return self.compiled.path if self.compiled else self.weights_path

    def with_file(self, path: str) -> "NetworkSpec":
        """The same network, with that file at ``path``."""
        if self.compiled:
            return replace(self, compiled=replace(self.compiled, path=path))
        return replace(self, weights_path=path)

    def to_json(self) -> str:
        """The spec as text for another process; :meth:`from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "NetworkSpec":
        """The spec that :meth:`to_json` wrote."""
        values = json.loads(text)
        compiled = values.pop("compiled")
        return cls(**values, compiled=CompiledFile(**compiled) if compiled else None)

    def check_pixels(self, pixels: Pixels) -> None:
        """Raise ValueError unless ``pixels`` are (n, size, size, 3)."""
        if pixels.shape[1:] != (self.input_size, self.input_size, 3):
            wanted = f"(n, {self.input_size}, {self.input_size}, 3)"
            raise ValueError(f"pixels are {pixels.shape}, the network reads {wanted}")


class Network(Protocol):
    """A loaded network. Thread-safe."""

    batch_size: int  # photos that it takes at once; calls with a multiple of it are fastest

    def features(self, pixels: Pixels) -> Features:
        """Features of each photo: uint8 RGB (n, size, size, 3) becomes float32 (n, dimension).

        Row i depends on photo i alone, within 1e-5 (relative L2), whatever else is in the call.
        Memory grows with batch_size, not with n. n may be 0. Raises ValueError for pixels of another
        shape or type, NetworkError for features that are NaN or infinite.
        """
        ...


def checked(features: Features, spec: NetworkSpec) -> Features:
    """Return ``features``; raises :class:`NetworkError` if any of them is NaN or infinite."""
    if not np.isfinite(features).all():
        raise NetworkError(
            f"{spec.model_id} gave NaN or infinite features: its weights are useless; "
            "set model.weights to others"
        )
    return features


def vgg16_input(pixels: Pixels) -> Input:
    """What VGG-16 reads: uint8 RGB (n, h, w, 3) becomes float32 BGR minus the ImageNet mean.

    Bit-equal to keras.applications.vgg16.preprocess_input of the same pixels as float32. The
    result is new and C-contiguous; there are no temporaries. Raises ValueError for other input.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"wanted uint8 (n, h, w, 3), not {pixels.dtype} {pixels.shape}")
    result = np.empty(pixels.shape, dtype=np.float32)
    np.subtract(pixels[..., ::-1], IMAGENET_MEAN_RGB[::-1], out=result)
    return result
