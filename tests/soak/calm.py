"""The calm after the storm: what is left is finished, and the tables are compared with the bucket."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from tests.soak.bucket import SoakBucket
from tests.soak.outcome import Outcome
from tests.soak.services import ROOT
from tests.soak.verdict import Verdict, judge
from tests.soak.writer import Writer

DRAIN_SECONDS = 900.0  # of seconds on a quiet machine
RETRY_SECONDS = 900.0  # for photos that wait: a minute, four, …
QUIET_SECONDS = 15.0  # an empty queue for as long; SQS counts approximately
EXPLAINED = 5  # photos, by `why`, which takes seconds


class Calm:
    """The end of a stage, with its services still running. ``say`` gets lines of progress."""

    def __init__(
        self,
        bucket: SoakBucket,
        writer: Writer,
        environment: Mapping[str, str],
        expected: Mapping[str, Sequence[float]],
        outcome: Outcome,
        say: Callable[[str], object],
    ) -> None:
        """``environment`` is that of a command; ``expected``: see :func:`.judge`."""
        self._bucket = bucket
        self._writer = writer
        self._environment = environment
        self._expected = expected
        self._outcome = outcome
        self._say = say

    def settle(self) -> None:
        """Wait until nothing is left to do, and judge; what is found goes to the outcome."""
        outcome, bucket, writer = self._outcome, self._bucket, self._writer
        if not self._drained():
            return
        outcome.first = self._judged(strict=False)
        self._say(f"{outcome.first.rows} rows, {len(outcome.first.waiting)} wait")
        deadline = time.monotonic() + RETRY_SECONDS
        if outcome.first.waiting:
            self._try_again()
        while self._drained() and bucket.noted("pending") and time.monotonic() < deadline:
            time.sleep(5)
        outcome.last = self._judged(strict=True)
        while (fault := bucket.matrix_fault() or bucket.report_fault()) and (
            time.monotonic() < deadline
        ):
            time.sleep(5)  # both are brought up to date within minutes
        if fault:
            outcome.problems.append(fault)
        if not outcome.last.rows:
            outcome.problems.append("no row was stored")
        live = {key: each.content for key, each in bucket.live().items()}
        expected = writer.ledger.expected()
        for key in sorted(live.keys() | expected.keys()):
            if live.get(key) != expected.get(key):
                outcome.problems.append(f"{key}: S3 has not what was put there last")
        self._explain({**outcome.first.faults, **outcome.last.faults})

    def _explain(self, faults: dict[str, str]) -> None:
        """What happened to the photos that are not as they should be, and what `why` says now."""
        for number, (key, why) in enumerate(faults.items()):
            self._say(f"{key}: {why}")
            for entry in self._writer.ledger.history(key):
                self._say(f"    {entry}")
            if number < EXPLAINED:
                known = self._command("why", key, "--json")
                self._say(f"    why: {_in_short(known.stdout or known.stderr)}")

    def _judged(self, *, strict: bool) -> Verdict:
        bucket = self._bucket
        return judge(
            bucket.live(),
            bucket.stored(),
            bucket.noted("rejects"),
            bucket.noted("pending"),
            self._expected,
            strict=strict,
        )

    def _drained(self) -> bool:
        """Whether the queue is empty, and was for a while; it is waited for."""
        deadline = time.monotonic() + DRAIN_SECONDS
        empty_since = time.monotonic()
        while time.monotonic() - empty_since < QUIET_SECONDS:
            if backlog := self._bucket.backlog():
                empty_since = time.monotonic()
                if time.monotonic() > deadline:
                    self._outcome.problems.append(f"{backlog} messages are left in the queue")
                    return False
            time.sleep(1)
        return True

    def _try_again(self) -> None:
        """Photos that wait are tried now, as far as they may be; what else differs was judged before."""
        done = self._command("reconcile")
        if done.returncode:
            self._outcome.problems.append(f"reconcile: {done.stderr.strip()}")

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "processor", *arguments],
            cwd=ROOT,
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


def _in_short(known: str) -> str:
    """What `why KEY --json` printed, in one line."""
    try:
        found = json.loads(known)
    except ValueError:
        return known.strip()
    return json.dumps({name: found[name] for name in found if name != "reduced"})
