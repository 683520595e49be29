"""The service of a benchmark: ``python -m processor run`` as a child, and what its log tells.

Settings come from config.toml, from FRUITS_* variables of the caller (to compare settings: they are
named in the result) and, above all, from the benchmark.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.harness.child import Child, output_of
from common.config import ENVIRONMENT_PREFIX, Config, load
from infra_scripts.embedded import EmbeddedAws

WEIGHTS = "random:0"  # as costly as any; ImageNet's need a download
DEFAULTS = {"FRUITS_MODEL__WEIGHTS": WEIGHTS}


@dataclass(frozen=True, slots=True)
class Durable:
    """One line "micro-batch durable": when (Unix time), and the photos that were stored in it."""

    at: float
    stored: int


def settings(
    work_dir: Path, input_size: int, defaults: Mapping[str, str] = DEFAULTS
) -> dict[str, str]:
    """The environment of a service: the caller's, ``defaults`` below it, the benchmark's above."""
    return {**DEFAULTS, **defaults, **os.environ, **_forced(work_dir, input_size)}


def overridden() -> dict[str, str]:
    """What a result names: our weights, and the FRUITS_* settings of the caller that hold."""
    forced = _forced(Path(), 0)
    callers = {name: value for name, value in sorted(os.environ.items()) if name not in forced}
    return DEFAULTS | {k: v for k, v in callers.items() if k.startswith(ENVIRONMENT_PREFIX)}


def _forced(work_dir: Path, input_size: int) -> dict[str, str]:
    return {
        "FRUITS_MODEL__LAYER": "avg_pool",  # what bare Keras computes
        "FRUITS_MODEL__INPUT_SIZE": str(input_size),
        "FRUITS_SERVICE__WORK_DIR": str(work_dir),
        "FRUITS_SERVICE__CACHE_DIR": str(work_dir.parent / "cache"),
        "FRUITS_LOGS__LEVEL": "INFO",
        "FRUITS_LOGS__CLOUDWATCH": "false",
    }


def config_of(environment: Mapping[str, str]) -> Config:
    """The configuration that a child with this environment has."""
    return load(environment=environment)


def start(aws: EmbeddedAws, environment: Mapping[str, str], output: Path, *arguments: str) -> Child:
    """The service, without anything left of an earlier one but the network's files."""
    work_dir = Path(environment["FRUITS_SERVICE__WORK_DIR"])
    shutil.rmtree(work_dir, ignore_errors=True)
    return Child("processor", ["run", *arguments], aws.over(environment), output)


def status(aws: EmbeddedAws, environment: Mapping[str, str]) -> dict[str, Any]:
    """What ``python -m processor status --json`` says."""
    said = output_of("processor", "status", "--json", environment=aws.over(environment))
    return json.loads(said.splitlines()[-1])


def log_lines(output: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of its log so far."""
    for line in output.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            yield json.loads(line)


def durable(output: Path) -> list[Durable]:
    """Its micro-batches that stored photos, in order."""
    return [
        Durable(_unix(line), line["stored"])
        for line in log_lines(output)
        if line["message"] == "micro-batch durable" and line["stored"]
    ]


def when(output: Path, message: str) -> float | None:
    """The Unix time of the first line with this message, None if there is none."""
    return next((_unix(line) for line in log_lines(output) if line["message"] == message), None)


def _unix(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["at"]).timestamp()
