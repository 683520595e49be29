"""Listings of the embedded AWS: S3 finds a page of names where it begins, moto goes through all of them.

Whoever commits to a Delta table lists the newest part of its log. With 3,000 names in the bucket each
listing took 2 ms longer, so that a table seemed to slow down as it grew.
"""

from types import SimpleNamespace
from typing import Any

from moto.s3 import models

_list_by_moto = models.S3Backend.list_objects_v2


def _list_objects_v2(
    backend: Any,
    bucket: Any,
    prefix: str | None,
    delimiter: str | None,
    continuation_token: str | None,
    start_after: str | None,
    max_keys: int,
) -> Any:
    # What a delimiter makes of names, and where a token leads, is moto's to find out.
    after = "" if delimiter or continuation_token else start_after or ""
    names = [name for name in bucket.keys if name > after and name.startswith(prefix or "")]
    part: Any = SimpleNamespace(keys={name: bucket.keys[name] for name in names})
    return _list_by_moto(
        backend, part, prefix, delimiter, continuation_token, start_after, max_keys
    )


def install() -> None:
    """Make moto's S3 list so; call once, before the first request."""
    moto: Any = models
    moto.S3Backend.list_objects_v2 = _list_objects_v2
