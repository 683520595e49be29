"""The mix: what happens in a bucket so that every table changes, and no table grows."""

import io
import itertools
import random
from typing import TYPE_CHECKING

import boto3
from PIL import Image

from tests.support.drawn_photos import photo
from tests.support.heif import heic

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

KEYS = 200  # different photos; about half of them are there at a time


class Mix:
    """One thing at a time happens to one of :data:`KEYS` photos; the seed decides what."""

    def __init__(self, name: str, seed: int) -> None:
        """``name`` is that of the bucket and of its queue."""
        self._s3: S3Client = boto3.client("s3")
        self._sqs: SQSClient = boto3.client("sqs")
        self._bucket = name
        self._queue_url = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
        self._random = random.Random(seed)
        self._pictures = itertools.count()
        self._heic = heic(Image.open(io.BytesIO(photo(0))))
        self._last: dict[str, bytes] = {}

    def happen(self) -> None:
        """Let something happen; the queue gets a message of most of it."""
        key = f"photos/label {self._random.randrange(5)}/{self._random.randrange(KEYS // 5)}.jpg"
        what = self._random.random()
        if what < 0.45:
            self._put(key, photo(next(self._pictures)))
        elif what < 0.75:
            self._s3.delete_object(Bucket=self._bucket, Key=key)
        elif what < 0.83 and self._last:
            self._put(*self._random.choice(list(self._last.items())))  # the same again
        elif what < 0.90:
            self._put(key, b"no photo")
        elif what < 0.94:
            self._put(key, photo(next(self._pictures))[:-200])
        elif what < 0.97:
            self._put(key, self._heic)
        elif what < 0.99:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=photo(1), StorageClass="GLACIER")
        else:
            self._sqs.send_message(QueueUrl=self._queue_url, MessageBody="{}")

    def waiting(self) -> int:
        """Messages that no consumer has received."""
        name = "ApproximateNumberOfMessages"
        answer = self._sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def _put(self, key: str, body: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)
        self._last[key] = body
