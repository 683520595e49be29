"""Listings of the embedded AWS: moto examines every object of a bucket to list a few; S3 does not.

A commit to a Delta table lists the newest part of its log three times. With 3,000 objects in the
bucket a listing took 4 ms longer than with 20, so that a table seemed to slow down as it grew. Here
moto sees only the objects that are listed; the remaining comparison of all names takes 1.5 ms.

moto encodes keys on request (``encoding-type=url``) in listings of objects only. S3 does so in those of
versions and of multipart uploads as well; XML has no other way to name a key with a control character.
"""

from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from moto.s3 import models, responses

Listed = tuple[set[models.FakeKey | str], bool, str | None]

_list_by_moto = models.S3Backend.list_objects_v2
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
    # How a delimiter groups names, and where a token continues, is left to moto.
    after = "" if delimiter or continuation_token else start_after or ""
    names = [name for name in bucket.keys if name > after and name.startswith(prefix or "")]
    # The keys are all that moto reads of a bucket here.
    part: Any = SimpleNamespace(keys={name: bucket.keys[name] for name in names})
    return _list_by_moto(
        backend, part, prefix, delimiter, continuation_token, start_after, max_keys
    )


def _list_object_versions(response: responses.S3Response) -> Any:
    return _serialized(response, _versions_by_moto)


def _list_multipart_uploads(response: responses.S3Response) -> Any:
    return _serialized(response, _uploads_by_moto)


def _serialized(response: responses.S3Response, listing: Any) -> Any:
    """What ``listing`` answers, with its keys encoded if that was requested."""
    if response.querystring.get("encoding-type") != ["url"]:
        return listing(response)
    answering: Any = response  # untyped, as below; there is one for each request
    serialize = answering.serialized

    def encoded(answer: Any) -> Any:
        found = answer.result
        for entry in (each for name in _ENTRIES for each in found.get(name) or ()):
            entry["Key"] = quote(entry["Key"])
        found |= {name: quote(found[name]) for name in _MARKERS if found.get(name)}
        found["EncodingType"] = "url"
        return serialize(answer)

    answering.serialized = encoded
    return listing(response)


def install() -> None:
    """Make moto's S3 list this way; call once, before the first request."""
    moto: Any = models  # untyped, so that its functions can be replaced
    moto.S3Backend.list_objects_v2 = _list_objects_v2
    answers: Any = responses.S3Response
    answers.list_object_versions = _list_object_versions
    answers.list_multipart_uploads = _list_multipart_uploads
