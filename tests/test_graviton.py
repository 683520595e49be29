"""The page on Graviton states every package that the lock has, in its version."""

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "graviton.md").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
TARGET = {"sys_platform": "linux", "python_version": "3.12", "python_full_version": "3.12.0"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_page_states_each_package_of_the_lock() -> None:
    lines = (line.removesuffix("\\") for line in LOCK.splitlines())
    locked = [Requirement(line) for line in lines if re.match(r"[A-Za-z0-9]", line)]
    wanted = {
        (canonical(each.name), str(each.specifier).removeprefix("=="))
        for each in locked
        if each.marker is None or each.marker.evaluate(TARGET)
    }
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (?:wheel|any|sources) \| \S+ \|$", PAGE, re.MULTILINE)
    assert len(rows) > 50
    assert {(canonical(name), version) for name, version in rows} == wanted
