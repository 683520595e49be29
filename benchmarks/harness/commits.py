"""The commits of the features table, watched from outside."""

import json
import time

from botocore.exceptions import ClientError

from benchmarks.harness import aws as embedded
from benchmarks.harness.child import Child
from benchmarks.harness.errors import BenchError
from common.aws_errors import status_of
from common.layout import StoreLayout, split
from infra_scripts.embedded import EmbeddedAws

POLL_SECONDS = 0.02  # between two HEAD requests; they take next to nothing from service and cores
NOT_FOUND = 404


class Commits:
    """Waits for rows: a HEAD request shows whether the table's next commit exists."""

    def __init__(self, aws: EmbeddedAws, store: StoreLayout) -> None:
        self._s3 = embedded.s3(aws)
        self._bucket, features = split(store.features)
        self._log = f"{features}/_delta_log/"
        self._next = 0

    def await_row(self, key: str, seconds: float, service: Child) -> float:
        """The Unix time at which a commit that adds ``key`` was seen.

        Raises :class:`BenchError` if there is none within ``seconds`` or the service ends.
        """
        deadline = time.time() + seconds
        while time.time() < deadline:
            polled_at = time.time()
            if self._exists():
                seen_at = time.time()
                if self._adds(key):
                    return seen_at
                continue
            if not service.running():
                raise BenchError(f"the service ended: {service.last_line()}")
            time.sleep(max(0.0, polled_at + POLL_SECONDS - time.time()))
        raise BenchError(f"no row for {key} within {seconds:.0f} s: {service.last_line()}")

    def _exists(self) -> bool:
        try:
            self._s3.head_object(Bucket=self._bucket, Key=self._name())
        except ClientError as error:
            if status_of(error) == NOT_FOUND:
                return False
            raise
        return True

    def _adds(self, key: str) -> bool:
        """Whether the next commit adds a row of ``key``; moves on to the one after it."""
        body = self._s3.get_object(Bucket=self._bucket, Key=self._name())["Body"].read()
        self._next += 1
        actions = [json.loads(line) for line in body.splitlines()]
        stats = [json.loads(action["add"]["stats"]) for action in actions if "add" in action]
        return any(key in (each["minValues"]["key"], each["maxValues"]["key"]) for each in stats)

    def _name(self) -> str:
        return f"{self._log}{self._next:020}.json"
