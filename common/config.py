"""The configuration: one frozen value, read from config.toml and the environment.

Only entry points call :func:`load`; everything below them receives values. Each default is defined
here and nowhere else, and a test compares it with the commented ``config.toml``.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.layout import BucketLayout

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

DEFAULT_FILE = Path(__file__).resolve().parents[1] / "config.toml"
ENVIRONMENT_PREFIX = "FRUITS_"


class ConfigError(ValueError):
    """The configuration cannot be used; the message names each key, its value and what is allowed."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Prefix = Annotated[str, Field(pattern=r"^([^/].*/)?$", description="empty, or a path ending in /")]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class Storage(_Section):
    bucket: str = Field("fruits-photos", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    photos_prefix: Prefix = "photos/"
    store_prefix: Prefix = ""

    @property
    def layout(self) -> BucketLayout:
        """Where the bucket keeps the photos and the store."""
        return BucketLayout(self.bucket, self.photos_prefix, self.store_prefix)

    @model_validator(mode="after")
    def _photos_apart_from_store(self) -> "Storage":
        _ = self.layout  # raises ValueError if the photos' prefix contains the store
        return self


class Queue(_Section):
    name: str = Field("fruits-photos", pattern=r"^[A-Za-z0-9_-]{1,80}$")
    dead_letter_name: str = Field("fruits-photos-dead", pattern=r"^[A-Za-z0-9_-]{1,80}$")
    max_receives: int = Field(1000, ge=1, le=1000)
    visibility_timeout_seconds: int = Field(60, ge=2, le=43_200)
    receivers: int = Field(4, ge=1, le=64)


class Batch(_Section):
    max_seconds: Positive = 20
    max_photos: int = Field(2048, ge=1, le=100_000)
    max_bytes: Positive = 1_000_000_000
    max_delay_seconds: int = Field(2, ge=0, le=300)


class Images(_Section):
    max_bytes: Positive = 50_000_000
    max_pixels: Positive = 100_000_000
    reduced_decode: bool = True
    unsandboxed_heic: bool = False


class Model(_Section):
    weights: str = Field("imagenet", min_length=1)
    layer: Literal["avg_pool", "max_pool", "fc2"] = "avg_pool"
    input_size: int = Field(224, ge=32, le=1024)
    engine: Literal["auto", "winograd", "ncnn", "tensorflow"] = "auto"
    batch_size: int = Field(0, ge=0, le=1024)

    @model_validator(mode="after")
    def _fc2_size(self) -> "Model":
        if self.layer == "fc2" and self.input_size != 224:
            raise ValueError(f"layer 'fc2' needs input_size 224, not {self.input_size}")
        return self


class Compute(_Section):
    workers: Count = 0
    threads: Count = 0
    downloads: int = Field(8, ge=1, le=64)


class Pca(_Section):
    components: Annotated[int, Field(ge=1, le=4096)] | Annotated[float, Field(gt=0.0, lt=1.0)] = 64
    whiten: bool = False
    growth_share: float = Field(1.0, ge=0.0, strict=False)
    growth_photos: Count = 1000
    interval_seconds: Count = 3600
    least_captured: float = Field(0.98, ge=0.0, le=1.0, strict=False)
    most_residual: float = Field(2.0, ge=0.0, strict=False)
    least_pause: float = Field(10.0, ge=0.0, strict=False)
    csv: bool = True
    report: bool = True


class Upkeep(_Section):
    interval_seconds: Count = 3600
    retention_hours: int = Field(168, ge=24)
    reconcile_interval_seconds: Count = 86_400


class Service(_Section):
    work_dir: str = Field("work", min_length=1)
    cache_dir: str = Field("work/cache", min_length=1)
    stop_grace_seconds: Count = 30
    stall_seconds: int = Field(600, ge=10)


class Spark(_Section):
    master: str = ""
    driver_memory: str = Field("1g", pattern=r"^[1-9][0-9]*[mg]$")


class Logs(_Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    cloudwatch: bool = False
    group: str = Field("/fruits/processor", pattern=r"^[A-Za-z0-9_./#-]{1,512}$")
    retention_days: Literal[
        1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653
    ] = 30


class Instance(_Section):
    type: str = Field("t2.xlarge", pattern=r"^([a-z][a-z0-9-]*\.[a-z0-9-]+)?$")
    volume_gb: int = Field(40, ge=20, le=16_384)
    cpu_credits: Literal["standard", "unlimited"] = "standard"
    subnet: str = Field("", pattern=r"^(subnet-[0-9a-f]{8,17})?$")


class Alarms(_Section):
    email: str = Field("", pattern=r"^([^@\s]+@[^@\s]+)?$")
    oldest_seconds: int = Field(1800, ge=60)
    reject_share: float = Field(0.2, gt=0.0, le=1.0, strict=False)


class Config(_Section):
    """All settings; see ``config.toml`` for their meaning, units and reasons."""

    storage: Storage = Storage()
    queue: Queue = Queue()
    batch: Batch = Batch()
    images: Images = Images()
    model: Model = Model()
    compute: Compute = Compute()
    pca: Pca = Pca()
    upkeep: Upkeep = Upkeep()
    service: Service = Service()
    spark: Spark = Spark()
    logs: Logs = Logs()
    instance: Instance = Instance()
    alarms: Alarms = Alarms()


_SECTIONS: dict[str, type[_Section]] = {name: type(section) for name, section in Config()}


def load(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Config:
    """Read ``file`` (default: the repository's ``config.toml``), overlay the environment, validate.

    Raises :class:`ConfigError` for an unreadable file, a variable without a known section, or (all
    of them in one error) unknown keys, wrong types and impossible values.
    """
    path = DEFAULT_FILE if file is None else file
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}; name the file with --config"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    overridden = _overlay(values, environment)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults: dict[str, list[str]] = {}  # a setting of several types has a fault for each
        for fault in error.errors():
            where, wrong = _explain(fault, overridden)
            faults.setdefault(where, []).append(wrong)
        listed = "; ".join(f"{where} {', or '.join(wrong)}" for where, wrong in faults.items())
        raise ConfigError(f"{path}: {listed}") from error


def _overlay(values: dict[str, Any], environment: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Write ``FRUITS_SECTION__KEY`` variables into ``values``; the variable that set each key."""
    overridden: dict[tuple[str, str], str] = {}
    for variable, raw in sorted(environment.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        section, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if section not in _SECTIONS or not key:
            raise ConfigError(
                f"{variable} does not name a setting; use {ENVIRONMENT_PREFIX}<SECTION>__<KEY>, "
                f"where SECTION is one of {', '.join(_SECTIONS)}"
            )
        table = values.setdefault(section, {})
        if not isinstance(table, dict):
            continue  # validation reports a section that is not a table
        table[key] = _parse(raw, section, key)
        overridden[section, key] = variable
    return overridden


def _parse(raw: str, section: str, key: str) -> object:
    """Read an environment value: text for a text field, anything else as a TOML literal."""
    field = _SECTIONS[section].model_fields.get(key)
    if field is None or field.annotation is str:
        return raw
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except ValueError:
        return raw


def _explain(fault: "ErrorDetails", overridden: Mapping[tuple[str, str], str]) -> tuple[str, str]:
    """Where a fault is, with the value, and what is allowed there."""
    path = tuple(str(part) for part in fault["loc"][:2])
    name = ".".join(path) or "the file"
    if len(path) == 2 and path in overridden:
        name = f"{name} (set by {overridden[path[0], path[1]]})"
    if fault["type"] == "extra_forbidden":
        known = _SECTIONS[path[0]].model_fields if len(path) == 2 else _SECTIONS
        return name, f"is not a setting; valid names here: {', '.join(known)}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if fault["type"] == "value_error":
        return f"{name}:", message
    return f"{name} = {fault['input']!r}", message
