"""The commits of the features table, watched from outside."""

import io
import json
import time

import pyarrow.parquet as pq
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
    """Sees rows come: a HEAD request shows whether the table's next commit exists."""

    def __init__(self, aws: EmbeddedAws, store: StoreLayout) -> None:
        self._s3 = embedded.s3(aws)
        self._bucket, features = split(store.features)
        self._folder = features
        self._next = 0
        self.seen_at = 0.0

    def await_row(self, key: str, seconds: float, service: Child) -> float:
        """The Unix time at which a commit that adds ``key`` was seen.

        Raises :class:`BenchError` if there is none within ``seconds`` or the service ends.
        """
        deadline = time.time() + seconds
        while time.time() < deadline:
            polled_at = time.time()
            if (keys := self.next_keys()) is not None:
                if key in keys:
                    return self.seen_at
                continue
            if not service.running():
                raise BenchError(f"the service ended: {service.last_line()}")
            time.sleep(max(0.0, polled_at + POLL_SECONDS - time.time()))
        raise BenchError(f"no row for {key} within {seconds:.0f} s: {service.last_line()}")

    def next_keys(self) -> set[str] | None:
        """The keys of the rows that the next commit adds, perhaps none; None if there is no next yet.

        ``seen_at`` is then the Unix time at which it was seen.
        """
        if not self._exists():
            return None
        self.seen_at = time.time()
        body = self._read(self._name())
        self._next += 1
        actions = [json.loads(line) for line in body.splitlines()]
        added = [action["add"]["path"] for action in actions if "add" in action]
        return {key for path in added for key in self._keys_in(path)}

    def _keys_in(self, path: str) -> list[str]:
        data_file = io.BytesIO(self._read(f"{self._folder}/{path}"))
        keys: list[str] = pq.read_table(data_file, columns=["key"])["key"].to_pylist()
        return keys

    def _exists(self) -> bool:
        try:
            self._s3.head_object(Bucket=self._bucket, Key=self._name())
        except ClientError as error:
            if status_of(error) == NOT_FOUND:
                return False
            raise
        return True

    def _read(self, key: str) -> bytes:
        body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    def _name(self) -> str:
        return f"{self._folder}/_delta_log/{self._next:020}.json"
