"""The writer: a seeded stream of changes to the bucket, and of messages that come twice and late."""

import heapq
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ingest.events import ObjectEvent, message
from tests.soak.contents import Content, contents
from tests.soak.ledger import Ledger

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

KEYS = 300  # that are changed again and again
# The share of changes that begin a key of their own, which is changed once more at most: what goes wrong
# with it is not mended by a later change.
LEFT_ALONE = 0.35
CHANGED_LATER = 0.7  # of those
LATER_SECONDS = (1.0, 45.0)
POISON = 0.02  # of what is put
REPEATED = 0.05  # of all events
LATEST = 20  # seconds that a repeated message may be late
REMEMBERED = 500  # events, to be repeated
FOLDERS = ("Äpfel", "a b", "c+d", "100%25", "日本", "x&y=z", "e\u0301", "é", "🍎", "it's (1)!")
# By change, how often compared with the others.
CHANGES = {
    "put": 40,
    "put back": 15,  # A, B, A, the same bytes
    "remove": 15,
    "put and remove": 6,
    "remove and put": 6,
}
VERSIONED = {
    "undelete": 8,  # the removal of a delete marker
    "drop version": 8,  # of the newest, so that the one before is current again
    "drop all": 3,  # versions, the newest first
}


def keys() -> list[str]:
    """All keys that the writer uses."""
    return [
        f"photos/{FOLDERS[n % len(FOLDERS)]}/{n} {FOLDERS[n // 7 % len(FOLDERS)]}.jpg"
        for n in range(KEYS)
    ]


class Writer:
    """Changes one bucket until it is stopped. Its requests go straight to AWS."""

    def __init__(
        self,
        s3: "S3Client",
        sqs: "SQSClient",
        bucket: str,
        queue_url: str,
        *,
        versioned: bool,
        seed: int,
        per_second: float,
    ) -> None:
        self.ledger = Ledger()
        self.repeated = 0
        self.error: Exception | None = None
        self._s3, self._sqs = s3, sqs
        self._bucket, self._queue_url = bucket, queue_url
        self._weights = CHANGES | (VERSIONED if versioned else {})
        self._random = random.Random(seed)
        self._per_second = per_second
        self._keys = keys()
        self._versions: dict[str, list[tuple[str, Content | None]]] = {}  # the newest last
        self._later: list[tuple[float, str]] = []  # keys to be changed once more; a heap
        self._recent: deque[ObjectEvent] = deque(maxlen=REMEMBERED)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns after the last change. Raises what stopped it before."""
        self._stopping.set()
        self._thread.join()
        if self.error:
            raise self.error

    def _write(self) -> None:
        try:
            while not self._stopping.wait(self._random.expovariate(self._per_second)):
                for _ in range(self._random.choice((1, 1, 1, 1, 12))):  # now and then a burst
                    self._change()
        except Exception as error:
            self.error = error

    def _change(self) -> None:
        key, what = self._next()
        for step in self._steps(what, key):
            step()
            if self._random.random() < REPEATED:
                self._repeat()

    def _next(self) -> tuple[str, str]:
        """The key to change, and how."""
        (what,) = self._random.choices(list(self._weights), list(self._weights.values()))
        now = time.monotonic()
        if self._later and self._later[0][0] <= now:
            return heapq.heappop(self._later)[1], what
        if self._random.random() >= LEFT_ALONE:
            return self._random.choice(self._keys), what
        key = f"photos/{self._random.choice(FOLDERS)}/left alone {self.ledger.changes}.jpg"
        if self._random.random() < CHANGED_LATER:
            heapq.heappush(self._later, (now + self._random.uniform(*LATER_SECONDS), key))
        return key, "put"

    def _steps(self, what: str, key: str) -> Iterator:
        match what:
            case "put":
                yield lambda: self._put(key, self._some())
            case "put back":
                first = self._some()
                for content in (first, self._some(), first):
                    yield lambda content=content: self._put(key, content)
            case "remove":
                yield lambda: self._remove(key)
            case "put and remove":
                yield lambda: self._put(key, self._some())
                yield lambda: self._remove(key)
            case "remove and put":
                yield lambda: self._remove(key)
                yield lambda: self._put(key, self._some())
            case "undelete":
                if self._known(key) and self._known(key)[-1][1] is None:
                    yield lambda: self._drop_newest(key)
            case "drop version":
                if self._known(key):
                    yield lambda: self._drop_newest(key)
            case "drop all":
                for _ in self._known(key)[:]:
                    yield lambda: self._drop_newest(key)

    def _some(self) -> Content:
        poison = self._random.random() < POISON
        return self._random.choice([each for each in contents() if each.good != poison])

    def _known(self, key: str) -> list[tuple[str, Content | None]]:
        return self._versions.setdefault(key, [])

    def _put(self, key: str, content: Content) -> None:
        answer = self._s3.put_object(Bucket=self._bucket, Key=key, Body=content.data)
        version, etag = answer.get("VersionId"), answer["ETag"].strip('"')
        if version:
            self._known(key).append((version, content))
        self.ledger.note(key, "put", version or etag, content)
        self._remember(key, "ObjectCreated:Put", version, etag, len(content.data))

    def _remove(self, key: str) -> None:
        answer = self._s3.delete_object(Bucket=self._bucket, Key=key)
        version = answer.get("VersionId")
        if version:  # some make no delete marker where there is nothing
            self._known(key).append((version, None))
        self.ledger.note(key, "remove", version, None)
        name = "ObjectRemoved:DeleteMarkerCreated" if version else "ObjectRemoved:Delete"
        self._remember(key, name, version, None, None)

    def _drop_newest(self, key: str) -> None:
        version, _ = self._known(key).pop()
        self._s3.delete_object(Bucket=self._bucket, Key=key, VersionId=version)
        known = self._known(key)
        self.ledger.note(key, "drop version", version, known[-1][1] if known else None)
        self._remember(key, "ObjectRemoved:Delete", version, None, None)

    def _remember(
        self, key: str, name: str, version: str | None, etag: str | None, size: int | None
    ) -> None:
        now = datetime.now(UTC)
        self._recent.append(ObjectEvent(self._bucket, key, version, etag, size, name, now, None))

    def _repeat(self) -> None:
        """Send up to three events again: older ones, out of order, perhaps in one message, late."""
        some = self._random.sample(list(self._recent), min(3, len(self._recent)))
        events = some[: self._random.randint(1, 3)]
        self._sqs.send_message(
            QueueUrl=self._queue_url,
            MessageBody=message(events),
            DelaySeconds=self._random.randint(0, LATEST),
        )
        self.repeated += len(events)
