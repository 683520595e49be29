"""The breaker: holds a micro-batch while S3 serves no photo, or the store cannot be used."""

import contextlib
import logging
import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from botocore.exceptions import ClientError

from common import aws, aws_errors
from common.layout import BucketLayout
from common.log_context import bound, carried
from processor.errors import ServiceError
from processor.photos import objects
from processor.pipeline.outcomes import UNWRITABLE, Extracted, Kind, Outcome, of_kind
from processor.store import datafiles
from processor.store import objects as store

log = logging.getLogger(__name__)

PROBES = 3  # photos of each sort that are asked for
LISTED = 1000
UNUSABLE = "the store cannot be used"
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
# For files that are written and not committed: after a day a vacuum may take them for orphans. SQS gives
# their messages to others by then.
LONGEST_HOLD_SECONDS = 12 * 3600.0

T = TypeVar("T")


class Breaker:
    """Tells an outage, which concerns all photos, from the trouble of those in one micro-batch.

    It is an outage if the store cannot be used, or if most of a batch failed the same way and S3 does
    not serve others either: some that are stored, and some that it lists.
    """

    def __init__(
        self,
        layout: BucketLayout,
        stored: Callable[[int], list[str]],
        still_waiting: Callable[[], object] = lambda: None,
    ) -> None:
        """``stored`` returns keys of stored photos, at most so many.

        ``still_waiting`` is called before each wait, which is at most LONGEST_WAIT_SECONDS, and before
        S3 is asked for photos.
        """
        self._layout = layout
        self._stored = stored
        self._still_waiting = still_waiting
        self._stopping = threading.Event()
        self.patience_seconds = math.inf

    def stop(self) -> None:
        """End :meth:`wait`, now and from now on."""
        self._stopping.set()

    def outage(self, results: Sequence[Extracted]) -> list[Outcome]:
        """The outcomes that are due to an outage; none if there is none."""
        failed = list(of_kind(results, Kind.PENDING))
        photos = sum(len(result.outcomes) for result in results)
        if unwritten := [each for each in failed if each.reason == UNWRITABLE]:
            return unwritten
        reasons = Counter(each.reason for each in failed).most_common(1)
        if not reasons or 2 * reasons[0][1] <= photos:
            return []
        alike = [each for each in failed if each.reason == reasons[0][0]]
        return alike if self._serves_none(alike) else []

    def wait(self, outage: Sequence[Outcome]) -> None:
        """Return once S3 serves a photo, one of these or another, or takes a file again.

        Raises :class:`ServiceError` when the service stops or ``patience_seconds`` are over.
        """
        first = outage[0]
        if first.reason == UNWRITABLE:
            pauses = self._pauses(UNUSABLE, first.detail)
        else:
            what = f"S3 serves no photo ({first.reason})"
            pauses = self._pauses(what, f"{first.key!r}: {first.detail}")
        while self._lasts(outage):
            next(pauses)
        log.info("the outage has passed")

    def until_allowed(self, call: Callable[[], T]) -> T:
        """What ``call``, which uses the store, returns; repeated while AWS denies it.

        Raises like it and like :meth:`wait`, and ServiceError after LONGEST_HOLD_SECONDS.
        """
        pauses: Iterator[None] | None = None
        while True:
            try:
                done = call()
            except ClientError as error:
                if not aws_errors.is_denied(error) and not aws_errors.is_key_refusal(error):
                    raise
                cause = aws_errors.explain(error, hint="")
                pauses = pauses or self._pauses(UNUSABLE, cause, LONGEST_HOLD_SECONDS)
                next(pauses)
            else:
                if pauses:
                    log.info("the outage has passed")
                return done

    def _pauses(self, what: str, cause: str, at_most: float = math.inf) -> Iterator[None]:
        """Says once what is wrong, then waits, longer each time."""
        log.error(
            "%s: %s; no further messages are taken until this has passed. %s",
            *(what, cause, aws_errors.SERVICE_POLICY),
        )
        waited, pause = 0.0, FIRST_WAIT_SECONDS
        while waited < min(self.patience_seconds, at_most):
            self._still_waiting()
            if self._stopping.wait(pause):
                break
            yield
            waited += pause
            pause = min(LONGEST_WAIT_SECONDS, pause * random.uniform(1.5, 2))  # noqa: S311
        raise ServiceError(f"{what}: {cause}; its messages are left in the queue")

    def _lasts(self, outage: Sequence[Outcome]) -> bool:
        if outage[0].reason == UNWRITABLE:
            return not self._is_writable()
        return self._serves_none(outage)

    def _is_writable(self) -> bool:
        """By a file that a vacuum would take for an orphan."""
        uri = f"{self._layout.store.features}/{datafiles.new_name()}"
        try:
            store.put(uri, b"")
        except aws_errors.ERRORS:
            return False
        with contextlib.suppress(*aws_errors.ERRORS):
            store.delete(uri)
        return True

    def _serves_none(self, failed: Sequence[Outcome]) -> bool:
        """Whether S3 refuses whatever it is asked for.

        What is not there, or archived, says nothing. Where nothing else can be asked for, those failed
        count.
        """
        failing = {each.key for each in failed}
        others = list(self._others(failing))
        keys = [*others, *islice(failing, PROBES)]
        self._still_waiting()
        with ThreadPoolExecutor(len(keys)) as pool:  # each may take a minute
            served = list(pool.map(carried(self._is_served), keys))
        return True not in served and False in (served[: len(others)] or served)

    def _is_served(self, key: str) -> bool | None:
        with bound(key=key):
            return objects.is_served(self._layout.bucket, key)

    def _others(self, failing: set[str]) -> Iterator[str]:
        """Some that are stored, and some that S3 lists, because of those stored none may be left."""
        yield from islice((key for key in self._stored(2 * PROBES) if key not in failing), PROBES)
        yield from islice((key for key in self._listed() if key not in failing), PROBES)

    def _listed(self) -> list[str]:
        prefix = self._layout.photos_prefix
        try:
            page = aws.s3().list_objects_v2(
                Bucket=self._layout.bucket, Prefix=prefix, MaxKeys=LISTED
            )
        except aws_errors.ERRORS:
            return []
        keys = [each["Key"] for each in page.get("Contents", ())]
        random.shuffle(keys)
        return keys
