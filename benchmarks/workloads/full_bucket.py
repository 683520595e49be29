"""The embedded AWS with a bucket full of objects, which to put would take an hour.

``python -m benchmarks.workloads.full_bucket PORT`` is its server; :class:`FullAws` starts it.
"""

import os

from moto.s3.models import FakeKey, s3_backends

from infra_scripts.embedded import EmbeddedAws, server

BUCKET = "bench-reconcile"
BODY = b"x"
ETAG = "9dd4e461268c8034f5c8564e155c67a6"  # of BODY
OBJECTS = "FULL_BUCKET_OBJECTS"  # the variable with their number


def key(number: int) -> str:
    """The key of an object; in the order of their numbers they are not in the order of keys."""
    return f"photos/label-{number % 131:03}/{number:09}.jpg"


class FullAws(EmbeddedAws):
    """Its bucket BUCKET has as many objects as the variable OBJECTS says."""

    SERVER = "benchmarks.workloads.full_bucket"


def main() -> None:
    account, region = "123456789012", "eu-west-1"  # moto's
    backend = s3_backends[account]["aws"]
    keys = backend.create_bucket(BUCKET, region).keys
    for name in map(key, range(int(os.environ[OBJECTS]))):
        keys[name] = FakeKey(name, BODY, account_id=account, region_name=region, bucket_name=BUCKET)
    server.main()


if __name__ == "__main__":
    main()
