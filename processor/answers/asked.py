"""The photo that is asked about: a local file or an object in S3, and its features.

It is as untrusted as any: the same decoder reads it, within the same limits.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from common.layout import BucketLayout, split
from processor.errors import Missing, TooLarge, Unavailable
from processor.network import engines
from processor.network.spec import Features, NetworkSpec
from processor.photos import objects
from processor.photos.decode import decode
from processor.photos.memory import MemoryBudget


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A photo's features, float32 (1, d), and its key if it is one of the store's bucket."""

    features: Features
    key: str | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads a photo as the service would."""

    layout: BucketLayout
    network: NetworkSpec
    max_bytes: int
    max_pixels: int
    reduced_decode: bool
    memory: MemoryBudget
    unsandboxed_heic: bool = False

    def read(self, photo: str) -> Asked:
        """The photo in a local file; if there is none of that name, the object under that key.

        ``s3://bucket/key`` is always an object. Raises like :func:`.objects.get` and
        :func:`.decode.decode`, with a text that names the photo.
        """
        if photo.startswith("s3://"):
            bucket, key = split(photo)
        elif os.path.isfile(photo):  # noqa: PTH113 - Path's raises for a key that is too long for a name
            return Asked(self._features(self._local(Path(photo))), None)
        else:
            bucket, key = self.layout.bucket, photo
        try:
            data = objects.get(bucket, key, self.max_bytes).data
        except Missing as error:
            here = "" if photo.startswith("s3://") else f"no file {photo!r} here and "
            raise Missing(f"there is {here}no object {key!r} in s3://{bucket}") from error
        return Asked(self._features(data), key if bucket == self.layout.bucket else None)

    def _local(self, file: Path) -> bytes:
        try:
            with file.open("rb") as opened:
                data = opened.read(self.max_bytes + 1)
        except OSError as error:
            raise Unavailable(f"{file}: {error.strerror}") from error
        if len(data) > self.max_bytes:
            raise TooLarge(f"{file} has more than images.max_bytes allows, {self.max_bytes}", "")
        return data

    def _features(self, data: bytes) -> Features:
        photo = decode(
            data,
            self.network.input_size,
            max_pixels=self.max_pixels,
            reduced_decode=self.reduced_decode,
            unsandboxed_heic=self.unsandboxed_heic,
            reserve=self.memory.reserve,
        )
        return engines.load(self.network).features(photo.pixels[None])
