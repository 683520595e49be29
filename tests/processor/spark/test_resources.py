"""How cores and memory are shared out."""

from dataclasses import replace

import pytest

from processor.network.spec import NetworkSpec
from processor.spark import resources

GIB = 1 << 30


@pytest.mark.parametrize(
    ("engine", "layer", "cores", "memory", "expected"),
    [
        ("ncnn", "avg_pool", 1, 16, (1, 1)),
        ("ncnn", "avg_pool", 2, 24, (2, 1)),
        ("ncnn", "avg_pool", 4, 16, (4, 1)),  # a t2.xlarge
        ("ncnn", "fc2", 4, 16, (4, 1)),
        ("ncnn", "fc2", 4, 8, (2, 2)),
        ("ncnn", "avg_pool", 64, 16, (20, 3)),
        ("ncnn", "avg_pool", 4, 2, (1, 4)),  # too little for anything; it tries
        ("tensorflow", "avg_pool", 2, 24, (1, 2)),
        ("tensorflow", "avg_pool", 16, 64, (4, 4)),
        ("tensorflow", "fc2", 16, 8, (1, 16)),
    ],
)
def test_cores_are_filled_once_within_memory(
    spec: NetworkSpec,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    layer: str,
    cores: int,
    memory: int,
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr(resources, "cores", lambda: cores)
    monkeypatch.setattr(resources, "memory_bytes", lambda: memory * GIB)
    wanted = replace(spec, engine=engine, layer=layer, input_size=224)
    workers, threads = resources.share_cores(wanted)
    assert (workers, threads) == expected
    assert workers * threads <= cores


def test_what_was_asked_for_is_taken(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "cores", lambda: 8)
    assert resources.share_cores(spec, 3, 5) == (3, 5)
    assert resources.share_cores(spec, 3, 0) == (3, 2)
    assert resources.share_cores(replace(spec, engine="ncnn"), 0, 2)[1] == 2


def test_larger_photos_take_more_memory(spec: NetworkSpec) -> None:
    small, large = (resources.worker_bytes(replace(spec, input_size=size)) for size in (224, 1024))
    assert large > small + GIB


def test_limits_of_control_groups_count(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_has = resources.memory_bytes()
    assert machine_has > GIB
    monkeypatch.setattr(resources, "_CGROUPS", tmp_path)
    monkeypatch.setattr(resources, "_group", lambda: "a.slice/b.service")
    (tmp_path / "a.slice" / "b.service").mkdir(parents=True)
    (tmp_path / "a.slice" / "b.service" / "memory.max").write_text("max\n")
    assert resources.memory_bytes() == machine_has
    (tmp_path / "a.slice" / "memory.max").write_text("1234\n")
    assert resources.memory_bytes() == 1234
    (tmp_path / "a.slice" / "b.service" / "memory.high").write_text("999\n")
    assert resources.memory_bytes() == 999
