"""The service as a child: ``python -m processor run``, its log and its status."""

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.harness.child import Child, output_of, parse
from infra_scripts.embedded import EmbeddedAws


@dataclass(frozen=True, slots=True)
class Durable:
    """One line "micro-batch durable": its Unix time, and what was stored in that micro-batch.

    ``conflicts`` are commits that lost to other services', ``conflict_seconds`` what they cost.
    """

    at: float
    stored: int
    conflicts: int
    conflict_seconds: float


@dataclass(frozen=True, slots=True)
class Reduced:
    """Of the status: the matrix."""

    rows: int


@dataclass(frozen=True, slots=True)
class Status:
    """What a benchmark reads from ``python -m processor status --json``."""

    photos: int
    rejects: int
    reduced: Reduced


@dataclass(frozen=True, slots=True)
class ServiceLog:
    """The log of a service that writes to the file ``output``, as far as it has been written."""

    output: Path

    def lines(self) -> Iterator[dict[str, Any]]:
        """Its whole lines; each kind has fields of its own, all have ``at`` and ``message``."""
        for line in self.output.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                yield json.loads(line)

    def durable(self) -> list[Durable]:
        """The micro-batches that stored photos, in order."""
        return [
            Durable(
                _unix(line), *(line[name] for name in ("stored", "conflicts", "conflict_seconds"))
            )
            for line in self.lines()
            if line["message"] == "micro-batch durable" and line["stored"]
        ]

    def first(self, message: str) -> float | None:
        """The Unix time of the first line with this message, None if there is none."""
        return next((_unix(line) for line in self.lines() if line["message"] == message), None)

    def count(self, message: str) -> int:
        """How many lines have this message."""
        return sum(line["message"] == message for line in self.lines())


def start(
    aws: EmbeddedAws,
    environment: Mapping[str, str],
    output: Path,
    *arguments: str,
    cores: Collection[int] | None = None,
) -> Child:
    """The service, with nothing left of an earlier one but the network's files.

    It runs on ``cores``, by default on all of ours.
    """
    work_dir = Path(environment["FRUITS_SERVICE__WORK_DIR"])
    shutil.rmtree(work_dir, ignore_errors=True)
    return Child("processor", ["run", *arguments], aws.over(environment), output, cores=cores)


def status(aws: EmbeddedAws, environment: Mapping[str, str]) -> Status:
    """The state of the store in the embedded AWS."""
    output = output_of("processor", "status", "--json", environment=aws.over(environment))
    return parse(Status, output, "processor status")


def _unix(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["at"]).timestamp()
