"""Listings of the embedded AWS: moto examines every object of a bucket to list a few; S3 does not.

A commit to a Delta table lists the newest part of its log three times. With 3,000 objects in the
bucket a listing took 4 ms longer than with 20, so that a table seemed to slow down as it grew; with a
million, each page of a listing takes four seconds. Here moto sees only the objects of one page; the
remaining comparison of all names takes 0.2 s for a million.

moto encodes keys on request (``encoding-type=url``) in listings of objects only, and not the key after
which they begin. S3 does so there, and in listings of versions and of multipart uploads as well; XML has
no other way to name a key with a control character.
"""

from heapq import nsmallest
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from moto.s3 import models, responses

Listed = tuple[set[models.FakeKey | str], bool, str | None]

_list_by_moto = models.S3Backend.list_objects_v2
_list_versions_by_moto: Any = models.S3Backend.list_object_versions
_objects_by_moto = responses.S3Response.list_objects_v2
_versions_by_moto = responses.S3Response.list_object_versions
_uploads_by_moto = responses.S3Response.list_multipart_uploads
_ENTRIES = ("Versions", "DeleteMarkers", "Uploads")
_MARKERS = ("KeyMarker", "NextKeyMarker", "Prefix", "Delimiter")


def _list_objects_v2(
    backend: models.S3Backend,
    bucket: models.FakeBucket,
    prefix: str | None,
    delimiter: str | None,
    continuation_token: str | None,
    start_after: str | None,
    max_keys: int,
) -> Listed:
    # How a delimiter groups names, and where a token continues in the groups, is left to moto.
    after = ""
    if not delimiter:
        token = backend._pagination_tokens.get(continuation_token or "")
        after = (token if continuation_token else start_after) or ""
    names = (
        name
        for name, versions in dict.items(bucket.keys)
        if name > after
        and name.startswith(prefix or "")
        and not isinstance(versions[-1], models.FakeDeleteMarker)
    )
    some = names if delimiter else nsmallest(max_keys + 1, names)
    # The keys are all that moto reads of a bucket here.
    part: Any = SimpleNamespace(keys={name: bucket.keys[name] for name in some})
    return _list_by_moto(
        backend, part, prefix, delimiter, continuation_token, start_after, max_keys
    )


def _list_versions(
    backend: models.S3Backend,
    bucket_name: str,
    delimiter: str | None = None,
    key_marker: str | None = None,
    max_keys: int = 1000,
    prefix: str = "",
    version_id_marker: str | None = None,
) -> Any:
    bucket = backend.get_bucket(bucket_name)
    after = key_marker or ""
    names = (
        name
        for name in dict.keys(bucket.keys)
        if (name > after or (version_id_marker and name == after)) and name.startswith(prefix)
    )
    part = type(bucket.keys)()
    for name in names if delimiter else nsmallest(max_keys + 1, names):
        part.setlist(name, bucket.keys.getlist(name))
    backend_of_part: Any = SimpleNamespace(get_bucket=lambda _: SimpleNamespace(keys=part))
    # Of a key marker alone moto would skip the name after it.
    marker = key_marker if version_id_marker or delimiter else None
    return _list_versions_by_moto(
        backend_of_part, bucket_name, delimiter, marker, max_keys, prefix, version_id_marker
    )


def _answer_objects(response: responses.S3Response) -> Any:
    return _serialized(response, _objects_by_moto, entries=(), others=("StartAfter",))


def _list_object_versions(response: responses.S3Response) -> Any:
    return _serialized(response, _versions_by_moto)


def _list_multipart_uploads(response: responses.S3Response) -> Any:
    return _serialized(response, _uploads_by_moto)


def _serialized(
    response: responses.S3Response,
    listing: Any,
    entries: tuple[str, ...] = _ENTRIES,
    others: tuple[str, ...] = _MARKERS,
) -> Any:
    """What ``listing`` answers, with its keys encoded if that was requested."""
    if response.querystring.get("encoding-type") != ["url"]:
        return listing(response)
    answering: Any = response  # untyped, as below; there is one for each request
    serialize = answering.serialized

    def encoded(answer: Any) -> Any:
        found = answer.result
        if isinstance(found, Exception):  # there is no such bucket
            return serialize(answer)
        for entry in (each for name in entries for each in found.get(name) or ()):
            entry["Key"] = quote(entry["Key"])
        found |= {name: quote(found[name]) for name in others if found.get(name)}
        found["EncodingType"] = "url"
        return serialize(answer)

    answering.serialized = encoded
    return listing(response)


def install() -> None:
    """Make moto's S3 list this way; call once, before the first request."""
    moto: Any = models  # untyped, so that its functions can be replaced
    moto.S3Backend.list_objects_v2 = _list_objects_v2
    moto.S3Backend.list_object_versions = _list_versions
    answers: Any = responses.S3Response
    answers.list_objects_v2 = _answer_objects
    answers.list_object_versions = _list_object_versions
    answers.list_multipart_uploads = _list_multipart_uploads
