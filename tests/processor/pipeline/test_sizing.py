"""Sizing: how cores and memory are shared out."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from processor.network.spec import NetworkSpec
from processor.pipeline import sizing

GIB = 1 << 30


@pytest.mark.parametrize(
    ("engine", "layer", "cores", "memory", "expected"),
    [
        ("winograd", "avg_pool", 2, 24, (2, 1)),
        ("winograd", "avg_pool", 64, 16, (39, 1)),
        ("winograd", "fc2", 64, 16, (35, 1)),
        ("ncnn", "avg_pool", 1, 16, (1, 1)),
        ("ncnn", "avg_pool", 2, 24, (2, 1)),
        ("ncnn", "avg_pool", 4, 16, (4, 1)),  # a t2.xlarge
        ("ncnn", "fc2", 4, 16, (4, 1)),
        ("ncnn", "fc2", 4, 8, (2, 2)),
        ("ncnn", "avg_pool", 64, 16, (16, 4)),
        ("ncnn", "avg_pool", 4, 2, (1, 4)),  # too little memory even for one, which is tried
        ("tensorflow", "avg_pool", 2, 24, (1, 2)),
        ("tensorflow", "avg_pool", 16, 64, (4, 4)),
        ("tensorflow", "fc2", 16, 8, (1, 16)),
    ],
)
def test_each_core_is_used_once_within_memory(
    spec: NetworkSpec,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    layer: str,
    cores: int,
    memory: int,
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr(sizing, "cores", lambda: cores)
    monkeypatch.setattr(sizing, "memory_bytes", lambda: memory * GIB)
    wanted = replace(spec, engine=engine, layer=layer, input_size=224)
    workers, threads = sizing.share_cores(wanted)
    assert (workers, threads) == expected
    assert workers * threads <= cores


def test_configured_numbers_are_used(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "cores", lambda: 8)
    assert sizing.share_cores(spec, 3, 5) == (3, 5)
    assert sizing.share_cores(spec, 3, 0) == (3, 2)
    assert sizing.share_cores(replace(spec, engine="ncnn"), 0, 2)[1] == 2


def test_an_eighth_of_the_memory_is_set_aside_for_large_photos(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {}
    for gib in (1, 4, 16):
        monkeypatch.setattr(sizing, "memory_bytes", lambda gib=gib: gib * GIB)
        found[gib] = sizing.photo_bytes() / GIB
    assert found == {1: 0.25, 4: 0.5, 16: 2}


def test_all_services_of_a_user_share_the_budget(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sizing.memory_budget().check()
    assert [path.name for path in tmp_path.iterdir()] == [f"fruits-memory-{os.getuid()}"]
