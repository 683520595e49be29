"""Fixtures of the processor's tests: a bucket, a small network, photos to put in."""

import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import boto3
import numpy as np
import pytest
from PIL import Image

from infra_scripts.embedded import EmbeddedAws
from processor import files
from processor.network import NetworkSpec
from processor.weights import obtain


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> NetworkSpec:
    """A VGG-16 that is quick: random weights, 32 px, one thread."""
    cache = tmp_path_factory.mktemp("weights")
    weights = obtain("random:7", include_top=False, cache_dir=cache)
    return NetworkSpec(str(weights.path), weights.digest, "avg_pool", 32, threads=1, batch_size=8)


@pytest.fixture
def bucket(aws: EmbeddedAws) -> Iterator[str]:
    """An empty bucket of its own."""
    files.s3.cache_clear()
    name = f"photos-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region}
    )
    yield name
    files.s3.cache_clear()


def photo(seed: int, kind: str = "JPEG", size: tuple[int, int] = (40, 30)) -> bytes:
    """A small photo; every seed another picture."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(buffer, kind)
    return buffer.getvalue()


NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Clock:
    """Times that only rise, a second a step."""

    steps: int = field(default=0)

    def next(self) -> datetime:
        self.steps += 1
        return datetime.fromtimestamp(NOON.timestamp() + self.steps, UTC)


def work_dir(tmp_path: Path) -> Path:
    """A fresh work directory under ``tmp_path``."""
    return tmp_path / uuid.uuid4().hex
