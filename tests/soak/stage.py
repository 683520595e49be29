"""A stage: one bucket, two services in a storm, then calm, and the verdict."""

import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import aws_errors
from infra_scripts.errors import InfraError
from tests.soak.bucket import SoakBucket, causes
from tests.soak.calm import Calm
from tests.soak.ends import by_fault, explained
from tests.soak.faults import WEIGHTS, Faults
from tests.soak.outcome import Outcome
from tests.soak.proxy import Proxy
from tests.soak.schedule import Order
from tests.soak.services import Run, Supervised
from tests.soak.settings import settings
from tests.soak.storm import Record, Storm
from tests.soak.writer import Writer

SERVICES = ("alpha", "beta")
START_SECONDS = 180.0
STOP_SECONDS = 120.0
CHANGES_PER_SECOND = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how hard, and from which seed."""

    seconds: float
    seed: int
    kills_per_minute: float
    fault_share: float


class Stage:
    """One bucket, from its deployment to the verdict. ``say`` gets lines of progress."""

    def __init__(
        self,
        folder: Path,
        cache_dir: Path,
        plan: Plan,
        orders: Iterator[Order],
        expected: Mapping[str, Sequence[float]],
        say: Callable[[str], object],
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
                command = self._environment("command")
                Calm(bucket, writer, command, self._expected, self.outcome, self._say).settle()
            finally:
                self._stop(services)
            self.outcome.calls, kinds = proxy.counts()
            self.outcome.faults = Counter(kinds)
        self._conclude(bucket, services)
        if not self.outcome.is_bad:
            try:
                bucket.delete()
            except (*aws_errors.ERRORS, InfraError) as error:
                self._say(f"bucket {bucket.name} is left: {error}")
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
        if outcome.record.kills < self._plan.seconds / 60 * self._plan.kills_per_minute / 2:
            outcome.problems.append(f"only {outcome.record.kills} kills")


def _described(run: Run) -> dict[str, object]:
    return {
        "run": run.name,
        "blows": run.blows,
        "status": run.status,
        "line": run.line,
        "explained": explained(run),
    }
