"""The memory budget: between threads and processes, after a crash, in turn, with an unusable file."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from processor.errors import BudgetError, RejectedImage
from processor.photos.footprint import Footprint
from processor.photos.memory import SMALL_BYTES, MemoryBudget
from processor.spark.session import worker_environment
from tests.support.pictures import encode

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[3]
FORK = multiprocessing.get_context("fork")


def needs(mebibytes: int, worst: int = 0) -> Footprint:
    return Footprint(mebibytes * MIB, max(mebibytes, worst) * MIB)


@pytest.fixture
def budget(tmp_path: Path) -> MemoryBudget:
    return MemoryBudget(100 * MIB, tmp_path / "memory")


def taken(budget: MemoryBudget, mebibytes: int) -> threading.Event:
    """Set once another thread has so much."""
    done = threading.Event()

    def take() -> None:
        with budget.reserve(needs(mebibytes)):
            done.set()

    threading.Thread(target=take, daemon=True).start()
    return done


def fits(budget: MemoryBudget, mebibytes: int) -> bool:
    return taken(budget, mebibytes).wait(10)


def waits(budget: MemoryBudget, mebibytes: int) -> bool:
    return not taken(budget, mebibytes).wait(0.1)


def test_what_fits_is_given_at_once_and_what_does_not_waits(budget: MemoryBudget) -> None:
    with ExitStack() as held:
        held.enter_context(budget.reserve(needs(50)))
        held.enter_context(budget.reserve(needs(30)))
        assert fits(budget, 20)
        assert waits(budget, 21)
    with budget.reserve(needs(100)):  # the one that waited is done
        pass


def test_freed_memory_between_others_is_found(budget: MemoryBudget) -> None:
    with ExitStack() as first, ExitStack() as held:
        first.enter_context(budget.reserve(needs(40)))
        held.enter_context(budget.reserve(needs(30)))
        held.enter_context(budget.reserve(needs(30)))
        first.close()
        assert fits(budget, 40)


def test_a_photo_that_never_fits_is_too_large_and_says_what_to_do(budget: MemoryBudget) -> None:
    with pytest.raises(RejectedImage) as caught, budget.reserve(needs(101)):
        pass
    assert caught.value.reason == "too-large"
    assert "takes 106 MB of memory to decode; this machine sets 105 MB aside" in caught.value.detail
    assert "a machine with more memory" in caught.value.detail


def test_a_possible_forgery_takes_what_there_is_but_is_not_rejected(budget: MemoryBudget) -> None:
    with budget.reserve(needs(20, worst=1000)):
        assert waits(budget, 17)


def test_small_photos_pass_by_the_large_two_at_a_time(budget: MemoryBudget) -> None:
    small = Footprint(SMALL_BYTES, SMALL_BYTES)
    with budget.reserve(needs(100)), budget.reserve(small):
        assert fits(budget, 16)
        with budget.reserve(small):
            assert waits(budget, 16)


def busy(budget: MemoryBudget, sizes: list[int], log: Path, started: threading.Barrier) -> None:
    """Decode `sizes` in four threads; what each held and when goes to `log`."""

    def one(mebibytes: int) -> str:
        with budget.reserve(needs(mebibytes)):
            began = time.monotonic()
            time.sleep(0.01)
            return f"{began} {time.monotonic()} {mebibytes}"

    started.wait()
    with ThreadPoolExecutor(4) as pool:
        log.write_text("\n".join(pool.map(one, sizes)))


def spans(logs: list[Path]) -> list[tuple[float, float, int]]:
    lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    return [(float(began), float(ended), int(size)) for began, ended, size in lines]


def run(budget: MemoryBudget, shares: list[list[int]], folder: Path):
    started = FORK.Barrier(len(shares))
    logs = [folder / str(n) for n in range(len(shares))]
    workers = [
        FORK.Process(target=busy, args=(budget, sizes, log, started))
        for sizes, log in zip(shares, logs, strict=True)
    ]
    for each in workers:
        each.start()
    for each in workers:
        each.join(20)
        assert each.exitcode == 0
    return spans(logs)


def test_the_sum_over_all_processes_stays_within_the_budget(
    budget: MemoryBudget, tmp_path: Path
) -> None:
    found = run(budget, [[20, 45, 70, 17, 33] * 6, [55, 20, 99, 18, 25] * 6], tmp_path)
    assert len(found) == 60
    sums = [sum(size for a, b, size in found if a <= at < b) for at, _, _ in found]
    assert max(sums) <= 100
    assert max(sums) > 60


def test_a_large_photo_gets_its_turn_among_smaller_ones(
    budget: MemoryBudget, tmp_path: Path
) -> None:
    """Nine processes' worth of threads never leave the budget empty by themselves."""
    found = run(budget, [[25] * 100, [25] * 100, [100, 100]], tmp_path)
    ended = sorted(size for _, _, size in sorted(found)[:60])
    assert ended[-2:] == [100, 100]


def test_a_killed_process_frees_what_it_held(budget: MemoryBudget) -> None:
    ready = FORK.Event()

    def hold() -> None:
        with budget.reserve(needs(100)):
            ready.set()
            time.sleep(60)

    holder = FORK.Process(target=hold)
    holder.start()
    assert ready.wait(10)
    assert waits(budget, 100)
    os.kill(holder.pid, signal.SIGKILL)
    began = time.monotonic()
    holder.join()
    with budget.reserve(needs(100)):
        assert time.monotonic() - began < 5


def test_a_killed_process_frees_its_turn(budget: MemoryBudget) -> None:
    with budget.reserve(needs(50)):

        def wait() -> None:
            with budget.reserve(needs(100)):
                pass

        waiter = FORK.Process(target=wait)
        waiter.start()
        time.sleep(0.2)
        assert waits(budget, 20)
        os.kill(waiter.pid, signal.SIGKILL)
        waiter.join()
        assert fits(budget, 20)


def test_a_child_that_was_forked_in_the_meantime_keeps_nothing(budget: MemoryBudget) -> None:
    with budget.reserve(needs(100)):
        child = FORK.Process(target=time.sleep, args=(60,))
        child.start()
    try:
        assert fits(budget, 100)
    finally:
        child.kill()
        child.join()


def test_an_error_inside_frees(budget: MemoryBudget) -> None:
    with pytest.raises(ZeroDivisionError), budget.reserve(needs(100)):
        _ = 1 // 0
    assert fits(budget, 100)


def test_the_file_is_empty_private_and_kept_young(budget: MemoryBudget) -> None:
    with budget.reserve(needs(100)):
        pass
    os.utime(budget.file, (0, 0))
    with budget.reserve(needs(20)):  # what tidies /tmp removes old files
        assert time.time() - budget.file.stat().st_mtime < 60
    assert budget.file.stat().st_size == 0
    assert budget.file.stat().st_mode & 0o777 == 0o600


def test_without_the_file_there_is_an_error_not_no_limit(tmp_path: Path) -> None:
    for file in (tmp_path / "missing" / "memory", tmp_path, Path(os.devnull)):
        budget = MemoryBudget(100 * MIB, file)
        with pytest.raises(BudgetError, match=f"{file}, which counts .* set TMPDIR"):
            budget.check()
        with pytest.raises(BudgetError), budget.reserve(needs(50)):
            pass
        with budget.reserve(needs(1)):
            pass


def test_a_file_that_others_could_lock_is_refused(budget: MemoryBudget, tmp_path: Path) -> None:
    budget.check()
    budget.file.chmod(0o666)
    with pytest.raises(BudgetError, match="not a file of this user alone"):
        budget.check()
    link = tmp_path / "link"
    link.symlink_to(budget.file)
    with pytest.raises(BudgetError, match="cannot be opened"):
        MemoryBudget(1, link).check()


WORKER = """
import pathlib, sys
from concurrent.futures import ThreadPoolExecutor
from processor.photos.decode import decode
from processor.photos.memory import MemoryBudget

total, file, photo = sys.argv[1:]
budget, data = MemoryBudget(int(total), pathlib.Path(file)), pathlib.Path(photo).read_bytes()
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(8) as pool:
    for _ in pool.map(lambda _: decode(data, 32, reserve=budget.reserve), range(8)):
        pass
print("done", flush=True)
sys.stdin.readline()
"""


def memory_of(worker: subprocess.Popen) -> int:
    lines = Path(f"/proc/{worker.pid}/smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_workers_that_decode_at_once_take_no_more_than_the_budget(tmp_path: Path) -> None:
    """Two workers of eight threads, each with a WebP of 115 MB; malloc must not keep what is freed."""
    photo = tmp_path / "photo"
    photo.write_bytes(encode(Image.new("RGB", (3500, 2000), 7), "WEBP", lossless=True, quality=0))
    total, environment = 300 * MIB, {**os.environ, **worker_environment()}
    command = [sys.executable, "-c", WORKER, str(total), str(tmp_path / "memory"), str(photo)]
    pipe = subprocess.PIPE
    with ExitStack() as running:
        workers = [
            running.enter_context(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdin=pipe,
                    stdout=pipe,
                    text=True,
                    bufsize=1,
                )
            )
            for _ in range(2)
        ]
        assert [each.stdout.readline() for each in workers] == ["ready\n"] * 2
        before = sum(map(memory_of, workers))
        peaks, over = [0], threading.Event()

        def watch() -> None:
            while not over.wait(0.003):
                peaks.append(sum(map(memory_of, workers)) - before)

        watching = threading.Thread(target=watch)
        watching.start()
        for each in workers:
            each.stdin.write("\n")
        assert [each.stdout.readline() for each in workers] == ["done\n"] * 2
        over.set()
        watching.join()
        after = sum(map(memory_of, workers)) - before
        for each in workers:
            each.stdin.close()
    assert total / 2 < max(peaks) < total
    assert after < total / 3
