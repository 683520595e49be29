"""The settings of the service in a benchmark, as environment variables.

They come from config.toml, from FRUITS_* variables of the caller (to compare settings; the result names
them) and, above all others, from the benchmark.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from common.config import ENVIRONMENT_PREFIX, Config, load

WEIGHTS = "random:0"  # as much work as any others; ImageNet's need a download
DEFAULTS = {"FRUITS_MODEL__WEIGHTS": WEIGHTS}


def environment(
    work_dir: Path, input_size: int, defaults: Mapping[str, str] = DEFAULTS
) -> dict[str, str]:
    """The environment of a service: the caller's, over ``defaults``, under what a benchmark fixes."""
    return {**DEFAULTS, **defaults, **os.environ, **_fixed(work_dir, input_size)}


def overridden() -> dict[str, str]:
    """What a result names: our weights, and the caller's FRUITS_* settings that take effect."""
    fixed = _fixed(Path(), 0)
    callers = {name: value for name, value in sorted(os.environ.items()) if name not in fixed}
    return DEFAULTS | {k: v for k, v in callers.items() if k.startswith(ENVIRONMENT_PREFIX)}


def config_of(environment: Mapping[str, str]) -> Config:
    """The configuration of a child with this environment."""
    return load(environment=environment)


def _fixed(work_dir: Path, input_size: int) -> dict[str, str]:
    return {
        "FRUITS_MODEL__LAYER": "avg_pool",  # what bare Keras computes
        "FRUITS_MODEL__INPUT_SIZE": str(input_size),
        "FRUITS_SERVICE__WORK_DIR": str(work_dir),
        "FRUITS_SERVICE__CACHE_DIR": str(work_dir.parent / "cache"),
        "FRUITS_LOGS__LEVEL": "INFO",
        "FRUITS_LOGS__CLOUDWATCH": "false",
    }
