"""The commits of the features table, seen from outside."""

import json
import time

from botocore.exceptions import ClientError

from benchmarks.harness import aws as _aws
from benchmarks.harness.child import BenchError, Child
from infra_scripts.embedded import EmbeddedAws

POLL_SECONDS = 0.02  # between two looks; one costs service and cores next to nothing


class Commits:
    """Waits for rows: one HEAD request asks whether the table's next commit is there."""

    def __init__(self, aws: EmbeddedAws, bucket: str, folder: str) -> None:
        self._s3 = _aws.client(aws, "s3")
        self._bucket = bucket
        self._log = f"{folder}features/_delta_log/"
        self._next = 0

    def await_row(self, key: str, seconds: float, service: Child) -> float:
        """The Unix time at which a commit that adds ``key`` was seen. BenchError after ``seconds``."""
        deadline = time.time() + seconds
        while time.time() < deadline:
            asked = time.time()
            if self._exists():
                seen = time.time()
                if self._adds(key):
                    return seen
                continue
            if not service.running():
                raise BenchError(f"the service ended: {service.said()}")
            time.sleep(max(0.0, asked + POLL_SECONDS - time.time()))
        raise BenchError(f"no row for {key} within {seconds:.0f} s: {service.said()}")

    def _exists(self) -> bool:
        try:
            self._s3.head_object(Bucket=self._bucket, Key=self._name())
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return True

    def _adds(self, key: str) -> bool:
        """Whether the next commit adds a row of ``key``; then on to the one after it."""
        body = self._s3.get_object(Bucket=self._bucket, Key=self._name())["Body"].read()
        self._next += 1
        actions = [json.loads(line) for line in body.splitlines()]
        stats = [json.loads(action["add"]["stats"]) for action in actions if "add" in action]
        return any(key in (each["minValues"]["key"], each["maxValues"]["key"]) for each in stats)

    def _name(self) -> str:
        return f"{self._log}{self._next:020}.json"
