"""Kept runs: all rows once, in order, whatever an earlier process has left; and nothing read twice."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.store import datafiles, sorted_rows
from processor.store.delta import Table
from processor.store.kept_runs import KeptRuns
from tests.support.keyed_tables import content, opened, readings, table_of

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
files = st.lists(st.dictionaries(keys, st.text("ab"), min_size=1, max_size=6), max_size=7)
some = st.sets(st.integers(0, 6))  # of the files, by number: their names are random
places = st.integers(0, 10_000)
harms = st.sampled_from(["none", "lost", "cut", "flipped"])


@contextlib.contextmanager
def small_runs(rows: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sorted_rows, "RUN_ROWS", rows)
        patched.setattr(sorted_rows, "BATCH_ROWS", 2)
        yield


def damage(file: Path, harm: str, at: int) -> None:
    whole = file.read_bytes()
    at %= len(whole)
    if harm == "lost":
        file.unlink()
    elif harm == "cut":
        file.write_bytes(whole[:at])
    elif harm == "flipped":
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])


def by_key(table: Table, paths: set[str]) -> list[tuple[str, str, str]]:
    return sorted(
        (row["key"], row["version"], path)
        for path in paths
        for row in datafiles.read(table.folder, path).to_pylist()
    )


@settings(max_examples=25, deadline=None)
@given(files, st.integers(1, 8), st.lists(st.tuples(some, places, harms, places), max_size=2), some)
def test_whatever_was_kept_all_rows_come_in_order_and_none_is_read_twice(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[dict[str, str]],
    run_rows: int,
    killed: list[tuple[set[int], int, str, int]],
    wanted: set[int],
) -> None:
    """Processes end before the first row, each with other live files; runs are lost and damaged."""
    folder = tmp_path_factory.mktemp("kept")
    table = table_of(str(folder / "table"), written)
    kept = folder / "runs"

    def paths(numbers: set[int]) -> set[str]:
        return {path for n, path in enumerate(sorted(table.paths())) if n in numbers}

    with small_runs(run_rows):
        for numbers, run, harm, at in killed:
            next(KeptRuns(kept).rows(table, paths(numbers)), None)
            if left := sorted(kept.glob("*")):
                damage(left[run % len(left)], harm, at)
        with readings() as read:
            found = list(KeptRuns(kept).rows(table, paths(wanted)))
        assert found == by_key(table, paths(wanted))
        assert len(set(read)) == len(read)
    KeptRuns(kept).clear()
    assert not kept.exists()


def test_what_fits_into_one_run_is_not_kept(tmp_path: Path) -> None:
    """So to follow another writer's commit costs no file."""
    table = table_of(str(tmp_path / "table"), [{"a": "1"}, {"b": "2"}])
    assert len(list(KeptRuns(tmp_path / "runs").rows(table, table.paths()))) == 2
    assert not (tmp_path / "runs").exists()


REBUILD = """
import os, signal, sys
from pathlib import Path
from processor.store import sorted_rows
from processor.store.kept_runs import KeptRuns
from tests.support.keyed_tables import opened
keep, kept = KeptRuns._keep, []
def deadly(self, body):
    kept.append(keep(self, body))
    if len(kept) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return kept[-1]
KeptRuns._keep, sorted_rows.RUN_ROWS = deadly, 20
opened(sys.argv[1], Path(sys.argv[2]))
"""


def test_a_rebuild_that_is_killed_reads_only_the_rest(tmp_path: Path) -> None:
    folder, index = str(tmp_path / "table"), tmp_path / "index"
    table_of(folder, [{f"{row}-{file}": "1" for row in range(10)} for file in range(20)])
    command = [sys.executable, "-c", REBUILD, folder, str(index)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert index.exists()
    with small_runs(20), readings() as read:
        again = opened(folder, index)
    assert len(read) == 10
    everything = content(folder)
    found = again.find(everything)
    assert {key: each.object_version for key, each in found.items()} == everything
    assert not (tmp_path / "runs.index").exists()
    again.close()
