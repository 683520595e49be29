"""GETs of S3 by obstore: native code that takes a sixth of botocore's processor time for each.

It makes one attempt and judges nothing. Whatever it cannot read, :mod:`.objects` reads with botocore,
which retries, follows a bucket to its region and knows what each error means. It reaches S3 by the same
library as delta-rs, so it needs nothing of the machine that the store does not need already.
"""

import functools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from botocore.exceptions import BotoCoreError
from obstore.exceptions import BaseError
from obstore.store import S3Store

from common import aws

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import ClientConfig, S3Credential
    from types_boto3_s3 import S3Client

# What a GET raises: obstore's own errors; FileNotFoundError for a missing object, another OSError for an
# unreadable CA bundle; ValueError for a key that obstore cannot ask for; botocore's without a client.
ERRORS = (BaseError, OSError, ValueError, BotoCoreError)
CREDENTIALS_FOR = timedelta(minutes=1)  # botocore renews them ten minutes before they expire


def get(bucket: str, key: str) -> "GetResult":
    """The response to a GET of exactly ``key``, its body unread. Raises :data:`ERRORS`.

    Called from several threads; the GIL is released while one waits. A process that has called it must
    not fork, because the child would lack obstore's threads; Spark's workers call it after their fork.
    """
    answer = obstore.get(_store(aws.s3(), bucket), key)
    asked = answer.meta["path"]
    if asked != key:  # without a slash at its beginning or its end, that is another object
        raise ValueError(f"obstore read {asked!r} instead of {key!r}")
    return answer


@functools.lru_cache(maxsize=1)
def _store(client: "S3Client", bucket: str) -> S3Store:
    """The bucket under the URL, and in the region, in which the client finds it."""
    url = aws.bucket_url(bucket)
    plain = url.startswith("http://")
    options: ClientConfig = {
        "allow_http": plain,
        "connect_timeout": timedelta(seconds=aws.CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=aws.READ_SECONDS),
        "timeout": timedelta(hours=1),  # by default a large body is cut off after 30 s
    }
    bundle = aws.ca_bundle()
    if bundle and not plain:  # trusted in addition to the machine's own certificates
        options["root_certificate"] = Path(bundle).read_bytes()
    return S3Store(
        bucket,
        aws_endpoint_url_s3=url,  # under its other name a variable would override it
        virtual_hosted_style_request=True,  # obstore does not add the bucket's name
        region=client.meta.region_name or "us-east-1",
        credential_provider=_Credentials(),
        client_options=options,
        retry_config={"max_retries": 0},
    )


class _Credentials:
    """Called by obstore whenever those that it has expire."""

    refresh_threshold = timedelta(0)

    def __call__(self) -> "S3Credential":
        found = aws.credentials()
        return {
            "access_key_id": found.access_key,
            "secret_access_key": found.secret_key,
            "token": found.token,
            "expires_at": datetime.now(UTC) + CREDENTIALS_FOR,
        }
