"""Weights: from the setting ``[model] weights`` to one verified file on this machine.

========================= =====================================================================
``imagenet``              what Keras downloads, with its checksum and its cache
``random``                He-normal from seed 0; ``random:SEED`` from another: the network's shape
                          and cost without training, for tests and demonstrations
a path                    .weights.h5, .keras or old .h5 as Keras saves VGG16, or .npz as kept here
``s3://B/K#sha256=HEX``   such a file in S3; the digest, as sha256sum prints it, is mandatory
========================= =====================================================================

There is no fallback: weights other than the configured ones are an error. TensorFlow is never
imported into this process; what only Keras can read is read by ``processor.network.weights_keras``.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from common import aws, aws_errors
from processor.errors import ChildError, WeightsError
from processor.network import child
from processor.network.cache import locked, staging
from processor.network.weights_file import Array, digest_of, layout, one_line, read, write

log = logging.getLogger(__name__)

_CONTAINERS = (".weights.h5", ".h5", ".keras", ".npz")
_FORMS = (
    "set model.weights to imagenet, random, random:SEED, a .weights.h5, .h5, .keras or .npz file, "
    "or s3://bucket/key#sha256=HEX"
)


@dataclass(frozen=True, slots=True)
class Weights:
    """Verified weights: ``path`` as :mod:`.weights_file` writes it, ``digest`` as it computes it."""

    path: Path
    digest: str
    source: str  # for people to read


@dataclass(frozen=True, slots=True)
class _Source:
    """``identity`` identifies the weights' content, ``make(target)`` writes them as a weights file."""

    identity: str
    text: str
    make: Callable[[Path], None]


def obtain(weights: str, *, include_top: bool, cache_dir: Path) -> Weights:
    """The file for a setting: from ``cache_dir`` if it is there intact, else made.

    May be repeated, also by several processes at once; one makes the file, the others wait and find
    it. The cache is keyed by what determines the content (seed, SHA-256 of a file), so a changed file
    is noticed and a pinned S3 object is downloaded once. A damaged cache file is replaced. All of
    ``cache_dir`` can be deleted at any time. With ``include_top`` the file also has fc1 and fc2,
    whose input is fixed to 224 x 224, and takes 537 MB, else 59 MB.

    Raises :class:`WeightsError`; nothing is added to the cache then.
    """
    try:
        source = _source(weights.strip(), include_top=include_top)
        name = f"vgg16-{source.identity}-{'top' if include_top else 'notop'}.npz"
        path = cache_dir.resolve() / name
        digest = _cached(path, include_top=include_top)
        if digest is None:
            with locked(path.parent):
                digest = _cached(path, include_top=include_top) or _make(
                    source, path, include_top=include_top
                )
    except OSError as error:
        raise WeightsError(
            f"cannot keep weights in {cache_dir} ({one_line(error)}): make it a folder that this "
            "user can write to, with 1.2 GB free, or choose another"
        ) from error
    return Weights(path, digest, source.text)


def _source(weights: str, *, include_top: bool) -> _Source:
    if weights == "imagenet":
        make = partial(_by_keras, weights, include_top=include_top)
        return _Source(weights, "Keras' ImageNet weights", make)
    if found := re.fullmatch(r"random(?::(\d{1,18}))?", weights, re.ASCII):
        seed = int(found[1] or 0)
        make = partial(_random, seed, include_top=include_top)
        return _Source(f"random-{seed}", f"random weights (He-normal, seed {seed})", make)
    if weights.startswith("random:"):
        raise WeightsError(
            f"{weights!r} has no valid seed: write random:SEED, where SEED is a whole number from 0"
        )
    if weights.startswith("s3:"):
        return _s3_source(weights, include_top=include_top)
    path = Path(weights).expanduser().absolute()
    if not path.name.endswith(_CONTAINERS):
        raise WeightsError(f"{weights!r} is not a source of weights: {_FORMS}")
    try:
        identity = f"sha256-{_sha256(path)}"
    except OSError as error:
        raise WeightsError(f"cannot read weights ({one_line(error)}): {_FORMS}") from error
    return _Source(identity, str(path), partial(_convert, path, include_top=include_top))


def _s3_source(weights: str, *, include_top: bool) -> _Source:
    found = re.fullmatch(r"s3://([^/]+)/(.+)#sha256=([0-9a-fA-F]{64})", weights)
    if found is None:
        raise WeightsError(
            f"{weights!r} does not pin its content: write s3://bucket/key#sha256=HEX, "
            "where HEX is the 64 digits that sha256sum prints for the file"
        )
    bucket, key, sha256 = found[1], found[2], found[3].lower()
    if not key.endswith(_CONTAINERS):
        raise WeightsError(
            f"{key!r} is not a weights file: it must end in {', '.join(_CONTAINERS)}"
        )

    def make(target: Path) -> None:
        local = target.with_name("download" + next(c for c in _CONTAINERS if key.endswith(c)))
        _download(bucket, key, sha256, local)
        _convert(local, target, include_top=include_top)

    return _Source(f"sha256-{sha256}", f"s3://{bucket}/{key}", make)


def _cached(path: Path, *, include_top: bool) -> str | None:
    if not path.exists():
        return None
    try:
        return digest_of(path, include_top=include_top)
    except WeightsError as error:
        log.warning("making cached weights again: %s", error)
        return None


def _make(source: _Source, path: Path, *, include_top: bool) -> str:
    log.info("preparing %s", source.text)
    with staging(path.parent) as folder:
        made = folder / path.name
        source.make(made)
        digest = digest_of(made, include_top=include_top)  # of what is on disk, not in memory
        made.replace(path)
    return digest


def _random(seed: int, target: Path, *, include_top: bool) -> None:
    """He-normal kernels (He et al. 2015, arXiv:1502.01852), zero biases.

    Keras' own default, Glorot's, lets the activations fade to 1e-2 over the thirteen layers. NumPy
    guarantees PCG64's bits across versions, but the normal numbers drawn from them only within one
    (NEP 19); a change would show as another digest. The convolutions are the same with and without
    top.
    """
    generator = np.random.Generator(np.random.PCG64(seed))

    def arrays() -> Iterator[tuple[str, Array]]:
        for name, shape in layout(include_top=include_top).items():
            if name.endswith("/bias"):
                yield name, np.zeros(shape, dtype=np.float32)
                continue
            kernel = generator.standard_normal(shape, dtype=np.float32)
            kernel *= np.float32(np.sqrt(2 / np.prod(shape[:-1])))
            yield name, kernel

    write(target, arrays(), include_top=include_top, origin="random")


def _convert(path: Path, target: Path, *, include_top: bool) -> None:
    if path.suffix == ".npz":
        arrays = read(path, include_top=include_top)
        write(target, arrays, include_top=include_top, origin=str(path))
    else:
        _by_keras(str(path), target, include_top=include_top)


def _by_keras(source: str, target: Path, *, include_top: bool) -> None:
    """Have ``processor.network.weights_keras`` write ``target``, in a child process."""
    top = "top" if include_top else "notop"
    try:
        child.run("processor.network.weights_keras", source, str(target), top)
    except ChildError as error:
        if error.reason:
            raise WeightsError(error.reason) from error
        raise WeightsError(
            f"the process that reads {source} with Keras failed: {error}: give it more memory "
            "(0.9 GB, with fc2 3 GB), or reinstall requirements.txt"
        ) from error


def _download(bucket: str, key: str, sha256: str, target: Path) -> None:
    try:
        aws.client("s3", read_seconds=60, attempts=5).download_file(bucket, key, str(target))
    except aws_errors.ERRORS as error:
        raise WeightsError(
            f"cannot get weights from s3://{bucket}/{key} ({one_line(error)}): check that it "
            "exists, that s3:GetObject is allowed, and AWS_REGION and AWS_ENDPOINT_URL"
        ) from error
    found = _sha256(target)
    if found != sha256:
        raise WeightsError(
            f"s3://{bucket}/{key} has SHA-256 {found}, not {sha256}: the object was replaced or "
            "damaged; restore it, or put the new digest into model.weights if that is intended"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
