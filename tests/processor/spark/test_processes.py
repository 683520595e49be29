"""Processes: all descendants end, and show their stacks before if they can."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support import scripts
from tests.support.traffic import until

ROOT = Path(__file__).resolve().parents[3]
# A process with a child and a grandchild of the kind that is named.
FAMILY = """
import subprocess, sys
from common import logs
from processor.spark import processes
child = "import subprocess, sys; p = subprocess.Popen(['bash', '-c', sys.argv[1]]); p.wait()"
subprocess.Popen([sys.executable, '-c', child, sys.argv[1]], stdout=subprocess.PIPE)
print(sys.stdin.readline(), flush=True)
processes.end(float(sys.argv[2]))
print("ended", flush=True)
sys.stdin.read()
"""


@contextmanager
def family(grandchild: str, seconds: float) -> Iterator[tuple[subprocess.Popen[str], list]]:
    """The process, about to end its descendants, and these."""
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY, grandchild, str(seconds)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            below = psutil.Process(process.pid)
            until(lambda: len(below.children(True)) >= 2)
            yield process, below.children(True)
        finally:
            process.kill()


def test_all_descendants_end(tmp_path: Path) -> None:
    done = tmp_path / "done"
    trap = f"trap 'sleep 0.3; touch {done}; exit' TERM; "
    waits = f"{trap} touch {tmp_path}/up; while :; do sleep 0.05; done"
    with family(waits, 20) as (process, below):
        until((tmp_path / "up").exists)
        print("go", file=process.stdin, flush=True)
        assert process.stdout
        assert process.stdout.readline().startswith("go")
        process.stdout.readline()
        assert process.stdout.readline() == "ended\n"
        assert done.exists()
        assert not [each for each in below if each.is_running() and each.status() != "zombie"]


def test_who_does_not_end_is_killed(tmp_path: Path) -> None:
    deaf = f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
    with family(deaf, 0.3) as (process, below):
        until((tmp_path / "up").exists)
        print("go", file=process.stdin, flush=True)
        assert process.stdout
        assert process.stdout.read(4) == "go\n\n"
        assert process.stdout.readline() == "ended\n"
        assert not [each for each in below if each.is_running() and each.status() != "zombie"]


ORPHANS = """
import subprocess, sys, time
from processor.spark import processes
processes.keep_orphans()
kept = subprocess.Popen(["sh", "-c", "exit 7"])
subprocess.run(["sh", "-c", "sleep 0.1 & sleep 0.1 &"])
time.sleep(0.5)
def ended():
    with processes.descendants() as family:
        return sorted(each.pid == kept.pid for each in family if each.state == "Z")
print(ended())
for _ in range(9):
    processes.reap_orphan(keep=kept.pid)
print(ended())
print(kept.wait())
for _ in range(9):
    processes.reap_orphan(keep=kept.pid)
print(ended())
"""


def test_orphans_that_end_do_not_pile_up() -> None:
    """They wait until the child that is spared was reaped, if the kernel names that one first."""
    before, between, status, after = scripts.run(ORPHANS).stdout.splitlines()
    assert before == "[False, False, True]"
    assert "True" in between
    assert (status, after) == ("7", "[]")


STACKS = """
import subprocess, sys, time
from processor.spark import processes
ready = "import time; from common import logs; logs.show_stacks_on_signal(); print(1, flush=True);"
children = [
    subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    for code in (ready + "time.sleep(600)", "import time; print(1, flush=True); time.sleep(600)")
]
for each in children:
    each.stdout.readline()
children[0].send_signal(19)
processes.show_stacks()
time.sleep(0.5)
print([each.poll() for each in children])
for each in children:
    each.kill()
"""


def test_stacks_come_from_those_that_can_write_them_and_the_others_live() -> None:
    """Also from one that was stopped."""
    done = scripts.run(STACKS)
    assert done.stdout == "[None, None]\n"
    assert done.stderr.count("most recent call first") == 1
    assert 'File "<string>", line 1 in <module>' in done.stderr
