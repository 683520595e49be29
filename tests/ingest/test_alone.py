"""The source in somebody else's Spark job: what it loads, and that it needs nothing else of ours."""

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.aws import DeployedStack
from tests.support.traffic import counts

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("boto3", "pyspark", "pyarrow")  # what the README says it needs
ABSENT = ("pydantic", "watchtower", "deltalake", "processor", "infra_scripts", "tests")
LOADED = "import sys, ingest.source; print(*sys.modules)"
MISSING = "import sys, importlib.util as u; print(*(n for n in sys.argv[1:] if not u.find_spec(n)))"


def test_importing_the_source_is_light() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    top = {name.partition(".")[0] for name in loaded}
    assert not top & {*ABSENT, "pyarrow", "pandas", "numpy"}
    ours = {name for name in loaded if name.partition(".")[0] in {"common", "ingest"}}
    assert ours == {
        "common",
        "common.aws",
        "common.aws_errors",
        "common.folding",
        "common.log_context",
        "common.log_lines",
        "common.logs",
        "common.printable",
        "common.redaction",
        "ingest",
        "ingest.dead_letters",
        "ingest.events",
        "ingest.holding",
        "ingest.inbox",
        "ingest.queue",
        "ingest.records",
        "ingest.source",
    }


def with_what_they_need(names: tuple[str, ...]) -> set[str]:
    """The distributions, and those that they need, and so on; without extras."""
    found: set[str] = set()
    wanted = list(names)
    while wanted:
        if (name := wanted.pop()) not in found:
            found.add(name)
            needed = map(Requirement, distribution(name).requires or [])
            wanted += [
                each.name
                for each in needed
                if not each.marker or each.marker.evaluate({"extra": ""})
            ]
    return found


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A folder with our two folders and an interpreter that has nothing but ``PACKAGES``."""
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    for name in with_what_they_need(PACKAGES):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            (site / top).symlink_to(distribution(name).locate_file(top))
    for folder in ("ingest", "common"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def example() -> str:
    """The script of the README's section."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Use the source alone")
    match = re.search(r"```python\n(.*?)```", section[2], re.DOTALL)
    assert match
    return match[1]


def test_the_example_of_the_readme_needs_nothing_else(stack: DeployedStack, stranger: Path) -> None:
    """In a process of its own, whose workers use the same bare interpreter."""
    (stranger / "events.py").write_text(example(), encoding="utf-8")
    python = str(stranger / "venv/bin/python")
    inherited = {"PATH", "HOME", "JAVA_HOME", "LANG"}
    environment = {
        **{n: v for n, v in os.environ.items() if n in inherited or n.startswith("AWS_")},
        "PYTHONPATH": str(stranger),
        "PYSPARK_PYTHON": python,
        # What shortens the start of Spark, and keeps its files together.
        "JAVA_TOOL_OPTIONS": f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djava.io.tmpdir={stranger}",
        "PYSPARK_SUBMIT_ARGS": "--master local[1] --conf spark.ui.enabled=false pyspark-shell",
    }
    stack.put("photos/a.jpg", b"one")
    stack.put("photos/b.jpg", b"three")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [python, *arguments],
            cwd=stranger,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", MISSING, *ABSENT).split() == list(ABSENT)
    printed = run("events.py", stack.queue_url)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    assert sorted(row for row in rows if row and row[0].startswith("Object")) == [
        ["ObjectCreated:Put", "photos/a.jpg", "3"],
        ["ObjectCreated:Put", "photos/b.jpg", "5"],
    ]
    assert counts(stack) == (0, 0)
