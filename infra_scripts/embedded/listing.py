"""Listings of the embedded AWS: moto examines every object of a bucket to list a few; S3 does not.

A commit to a Delta table lists the newest part of its log three times. With 3,000 objects in the
bucket a listing took 4 ms longer than with 20, so that a table seemed to slow down as it grew. Here
moto sees only the objects that are listed; the remaining comparison of all names takes 1.5 ms.
"""

from types import SimpleNamespace
from typing import Any

from moto.s3 import models

Listed = tuple[set[models.FakeKey | str], bool, str | None]

_list_by_moto = models.S3Backend.list_objects_v2


def _list_objects_v2(
    backend: models.S3Backend,
    bucket: models.FakeBucket,
    prefix: str | None,
    delimiter: str | None,
    continuation_token: str | None,
    start_after: str | None,
    max_keys: int,
) -> Listed:
    # How a delimiter groups names, and where a token continues, is left to moto.
    after = "" if delimiter or continuation_token else start_after or ""
    names = [name for name in bucket.keys if name > after and name.startswith(prefix or "")]
    # The keys are all that moto reads of a bucket here.
    part: Any = SimpleNamespace(keys={name: bucket.keys[name] for name in names})
    return _list_by_moto(
        backend, part, prefix, delimiter, continuation_token, start_after, max_keys
    )


def install() -> None:
    """Make moto's S3 list this way; call once, before the first request."""
    moto: Any = models  # untyped, so that its functions can be replaced
    moto.S3Backend.list_objects_v2 = _list_objects_v2
