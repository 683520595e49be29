"""The embedded AWS with a bucket that lists photos by the million, which do not lie there.

``python -m benchmarks.workloads.listed_photos PORT`` is its server; :class:`ListedAws` starts it. Each
page of a listing is made of the photos' ranks when it is asked for, so it takes as long whatever their
number. Everything else the embedded AWS answers as always.
"""

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

import numpy as np

from benchmarks.workloads import random_photos
from infra_scripts.embedded import EmbeddedAws, server

BUCKET = "bench-scale"
PHOTOS = "LISTED_PHOTOS"  # the variable with their number
PAGE_KEYS = 1000
_HEAD = '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
_ENTRY = (
    "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<ETag>&quot;{}&quot;</ETag><Size>100000</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


class ListedAws(EmbeddedAws):
    """Its bucket BUCKET lists as many photos as the variable PHOTOS says."""

    SERVER = "benchmarks.workloads.listed_photos"


class Pages:
    """The pages of a listing of so many photos."""

    def __init__(self, photos: int) -> None:
        self._ranks = np.sort(random_photos.ranks(range(photos)))

    def after(self, key: str) -> bytes:
        """The one that begins after ``key``, as S3 answers."""
        start = 0
        if key:
            start = int(np.searchsorted(self._ranks, random_photos.rank_of(key), "right"))
        some = self._ranks[start : start + PAGE_KEYS]
        more = str(start + PAGE_KEYS < len(self._ranks)).lower()
        names = random_photos.keys(some).to_pylist(), random_photos.etags(some).to_pylist()
        entries = "".join(map(_ENTRY.format, *names))
        return f"{_HEAD}<IsTruncated>{more}</IsTruncated>{entries}</ListBucketResult>".encode()


class _Application(server.Application):
    def __init__(self) -> None:
        super().__init__()
        self._pages = Pages(int(os.environ[PHOTOS]))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        query = parse_qs(environ["QUERY_STRING"])
        listed = query.get("list-type") == ["2"] and query.get("prefix") == ["photos/"]
        if not listed or environ["PATH_INFO"].strip("/") != BUCKET:
            return super().__call__(environ, start_response)
        (after,) = query.get("start-after", [""])
        body = self._pages.after(after)
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]


def main() -> None:
    serving: Any = server
    serving.Application = _Application
    server.main()


if __name__ == "__main__":
    main()
