"""Resources: the cores and the memory that this process may use."""

import os

import pytest

from processor.spark import resources

GIB = 1 << 30


def test_cores_are_those_that_this_process_may_use() -> None:
    assert resources.cores() == len(os.sched_getaffinity(0))


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


def test_the_scarcest_memory_counts(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_CGROUPS", tmp_path)
    monkeypatch.setattr(resources, "_group", lambda: "b.service")
    machine = resources.memory_used()
    assert 0 < machine < 1
    group = tmp_path / "b.service"
    group.mkdir()
    (group / "memory.max").write_text("1000\n")
    (group / "memory.current").write_text("1500\n")
    (group / "memory.stat").write_text("anon 1100\ninactive_file 300\nactive_file 100\n")
    assert resources.memory_used() == pytest.approx(1.1)  # its cache can be dropped
    (group / "memory.max").write_text("1000000\n")
    assert resources.memory_used() == pytest.approx(machine, abs=0.2)
