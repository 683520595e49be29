"""Photos by the hundred: drawn once for each kind, each with a comment of its own, put by threads."""

import functools
import io
import itertools
from concurrent.futures import ThreadPoolExecutor

from demo.fruit import SPECIES
from demo.sample import draw
from tests.systemd.photos import Photos

THREADS = 4


class ManyPhotos(Photos):
    """As :class:`tests.systemd.photos.Photos`, and quicker than the service takes them."""

    def put(self, count: int) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._put_one, itertools.islice(self._numbers, count)))

    def _put_one(self, number: int) -> None:
        kind = number % len(SPECIES)
        text = f"photo {number}".encode()
        segment = b"\xff\xfe" + (2 + len(text)).to_bytes(2, "big") + text  # a comment of JPEG
        body = _drawn(kind)
        self._put(f"photos/{SPECIES[kind].name}/{number:06}.jpg", body[:2] + segment + body[2:])


@functools.cache
def _drawn(kind: int) -> bytes:
    target = io.BytesIO()
    draw(SPECIES[kind], kind).save(target, "JPEG")
    return target.getvalue()
