"""A stage: one bucket, two services in a storm, then calm, and the verdict."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest.events import UNKNOWN_TIME, ObjectEvent, message
from tests.soak.bucket import SoakBucket, causes, history_of
from tests.soak.ends import by_fault, explained
from tests.soak.faults import WEIGHTS, Faults
from tests.soak.proxy import Proxy
from tests.soak.schedule import Order
from tests.soak.services import ROOT, Run, Supervised
from tests.soak.storm import Record, Storm
from tests.soak.verdict import Verdict, judge
from tests.soak.writer import Writer

SERVICES = ("alpha", "beta")
DRAIN_SECONDS = 900.0  # of seconds on a quiet machine
RETRY_SECONDS = 900.0  # for photos that wait: a minute, four, …
STOP_SECONDS = 120.0
START_SECONDS = 180.0
QUIET_SECONDS = 15.0  # an empty queue for as long; SQS counts approximately
CHANGES_PER_SECOND = 1.0
EXPLAINED = 5  # photos, by `why`, which takes seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how hard, and from which seed."""

    seconds: float
    seed: int
    kills_per_minute: float
    fault_share: float


@dataclass
class Outcome:
    """What a stage found."""

    record: Record
    events: int = 0
    calls: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: Verdict = field(default_factory=Verdict)
    last: Verdict = field(default_factory=Verdict)
    dead_letters: Counter[str] = field(default_factory=Counter)
    orphans: list[str] = field(default_factory=list)
    unexpected_ends: list[str] = field(default_factory=list)
    ends_by_fault: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_bad(self) -> bool:
        found = (self.first.faults, self.last.faults, self.dead_letters, self.orphans)
        return any((*found, self.unexpected_ends, self.problems))


class Stage:
    """One bucket, from its deployment to the verdict. ``say`` gets lines of progress."""

    def __init__(
        self,
        folder: Path,
        cache_dir: Path,
        plan: Plan,
        orders: Iterator[Order],
        expected: dict[str, Sequence[float]],
        say: Callable[[str], None],
        *,
        versioned: bool,
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._expected = expected
        self._say = say
        self._versioned = versioned
        self._settings = settings(f"soak-{uuid.uuid4().hex[:12]}", cache_dir)
        self.outcome = Outcome(Record())
        self._storm = Storm(orders, self.outcome.record, say)

    def run(self) -> Outcome:
        plan = self._plan
        bucket = SoakBucket(self._settings, versioned=self._versioned)
        writer = Writer(
            bucket.s3,
            bucket.sqs,
            bucket.name,
            bucket.queue_url,
            versioned=self._versioned,
            seed=plan.seed,
            per_second=CHANGES_PER_SECOND,
        )
        target = os.environ["AWS_ENDPOINT_URL"]
        proxy: Proxy

        def hit(port: str, order: int) -> None:
            self._storm.hit(port, order, proxy)

        faults = Faults(plan.seed, plan.fault_share, WEIGHTS)
        with Proxy(target, faults, hit, self._storm.receiving) as proxy:
            services = [
                Supervised(name, self._folder, self._environment(name), proxy) for name in SERVICES
            ]
            self._storm.of(services)
            for each in services:
                each.start()
            try:
                writer.start()
                try:
                    self._await_start(services)
                    self._storm.blow(proxy, plan.seconds, plan.kills_per_minute)
                finally:
                    writer.stop()
                    self.outcome.events = writer.ledger.changes + writer.repeated
                self._say("the storm is over")
                self._settle(bucket, writer, proxy)
            finally:
                self._stop(services)
            self.outcome.calls, kinds = proxy.counts()
            self.outcome.faults = Counter(kinds)
        self._conclude(bucket, services)
        if not self.outcome.is_bad:
            bucket.delete()
        return self.outcome

    def _await_start(self, services: Sequence[Supervised]) -> None:
        """Both are up once before the first kill, faults or not."""
        deadline = time.monotonic() + START_SECONDS
        while not all(each.run and each.run.receiving_at for each in services):
            if time.monotonic() > deadline:
                self.outcome.problems.append(f"no service within {START_SECONDS:.0f} s")
                return
            time.sleep(0.5)
        self._say("both services are up")

    def _environment(self, name: str) -> dict[str, str]:
        work_dir = self._folder / name / "work"
        return self._settings | {"FRUITS_SERVICE__WORK_DIR": str(work_dir)}

    def _settle(self, bucket: SoakBucket, writer: Writer, proxy: Proxy) -> None:
        outcome = self.outcome
        if not self._drained(bucket):
            return
        outcome.first = self._judged(bucket, strict=False)
        self._say(f"{outcome.first.rows} rows, {len(outcome.first.waiting)} wait")
        deadline = time.monotonic() + RETRY_SECONDS
        if outcome.first.waiting:
            self._try_again(bucket)
        while self._drained(bucket) and bucket.noted("pending") and time.monotonic() < deadline:
            time.sleep(5)
        outcome.last = self._judged(bucket, strict=True)
        while (fault := bucket.matrix_fault()) and time.monotonic() < deadline:
            time.sleep(5)  # it is brought up to date within a minute
        if fault:
            outcome.problems.append(fault)
        if not outcome.last.rows:
            outcome.problems.append("no row was stored")
        if outcome.record.kills < self._plan.seconds / 60 * self._plan.kills_per_minute / 2:
            outcome.problems.append(f"only {outcome.record.kills} kills")
        live = {key: each.content for key, each in bucket.live().items()}
        expected = writer.ledger.expected()
        for key in sorted(live.keys() | expected.keys()):
            if live.get(key) != expected.get(key):
                outcome.problems.append(f"{key}: S3 has not what was put there last")
        self._explain({**outcome.first.faults, **outcome.last.faults}, writer)

    def _explain(self, faults: dict[str, str], writer: Writer) -> None:
        """What happened to the photos that are not as they should be, and what `why` says now."""
        for number, (key, why) in enumerate(faults.items()):
            self._say(f"{key}: {why}")
            for entry in writer.ledger.history(key):
                self._say(f"    {entry}")
            if number < EXPLAINED:
                known = self._command("why", key, "--json")
                self._say(f"    why: {history_of(known.stdout or known.stderr)}")

    def _judged(self, bucket: SoakBucket, *, strict: bool) -> Verdict:
        return judge(
            bucket.live(),
            bucket.stored(),
            bucket.noted("rejects"),
            bucket.noted("pending"),
            self._expected,
            strict=strict,
        )

    def _drained(self, bucket: SoakBucket) -> bool:
        """Whether the queue is empty, and was for a while; it is waited for."""
        deadline = time.monotonic() + DRAIN_SECONDS
        empty_since = time.monotonic()
        while time.monotonic() - empty_since < QUIET_SECONDS:
            if backlog := bucket.backlog():
                empty_since = time.monotonic()
                if time.monotonic() > deadline:
                    self.outcome.problems.append(f"{backlog} messages are left in the queue")
                    return False
            time.sleep(1)
        return True

    def _try_again(self, bucket: SoakBucket) -> None:
        """Photos that wait are tried now, as far as they may be."""
        if self._command("reconcile", "--help").returncode == 0:
            done = self._command("reconcile")
            if done.returncode:
                self.outcome.problems.append(f"reconcile: {done.stderr.strip()}")
            return
        for each in bucket.noted("pending"):
            event = ObjectEvent(
                *(bucket.name, each.key, None, each.version or None, None),
                *("ObjectCreated:Retry", UNKNOWN_TIME, None),
            )
            bucket.sqs.send_message(QueueUrl=bucket.queue_url, MessageBody=message([event]))

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "processor", *arguments],
            cwd=ROOT,
            env={**os.environ, **self._environment("command")},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def _stop(self, services: Sequence[Supervised]) -> None:
        for each in services:
            run = each.stop(STOP_SECONDS)
            if run and run.status:
                self.outcome.problems.append(
                    f"{run.name} ended with status {run.status} on SIGTERM: {run.line}"
                )

    def _conclude(self, bucket: SoakBucket, services: Sequence[Supervised]) -> None:
        outcome = self.outcome
        bodies = bucket.dead_letters()
        outcome.dead_letters = causes(bodies)
        for body in bodies:
            self._say(f"dead letter: {body[:500]}")
        ends = sorted((end for each in services for end in each.ends), key=lambda e: e.started_at)
        with (self._folder / "ends.jsonl").open("w") as file:
            for end in ends:
                file.write(json.dumps(_described(end)) + "\n")
        last = {each.ends[-1].name for each in services}
        for end in ends:
            if end.name in last or explained(end):
                continue
            line = f"{end.name} ended with status {end.status} after {end.blows}: {end.line}"
            (outcome.ends_by_fault if by_fault(end) else outcome.unexpected_ends).append(line)
        outcome.orphans = [orphan for each in services for orphan in each.orphans]
        outcome.problems += outcome.record.hung


def settings(name: str, cache_dir: Path) -> dict[str, str]:
    """Those of both services: small, and busy with upkeep, so that kills meet all of it."""
    return {
        "FRUITS_STORAGE__BUCKET": name,
        "FRUITS_QUEUE__NAME": name,
        "FRUITS_QUEUE__DEAD_LETTER_NAME": f"{name}-dead",
        "FRUITS_QUEUE__VISIBILITY_TIMEOUT_SECONDS": "10",
        "FRUITS_BATCH__MAX_SECONDS": "3",
        "FRUITS_MODEL__WEIGHTS": "random",
        "FRUITS_MODEL__INPUT_SIZE": "32",
        "FRUITS_PCA__COMPONENTS": "3",
        "FRUITS_PCA__INTERVAL_SECONDS": "10",
        "FRUITS_PCA__GROWTH_SHARE": "0.02",
        "FRUITS_UPKEEP__INTERVAL_SECONDS": "5",
        "FRUITS_SERVICE__CACHE_DIR": str(cache_dir),
        "FRUITS_SERVICE__STOP_GRACE_SECONDS": "5",
        "FRUITS_LOGS__GROUP": f"/{name}",
    }


def _described(run: Run) -> dict[str, object]:
    return {
        "run": run.name,
        "blows": run.blows,
        "status": run.status,
        "line": run.line,
        "explained": explained(run),
    }
