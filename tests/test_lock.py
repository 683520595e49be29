"""requirements.lock: every package of requirements.txt with all that it needs, each with digests."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    plain = (line.partition("#")[0].rstrip(" \\\n") for line in lines)
    return [Requirement(line) for line in plain if line and not line.startswith(" ")]


def locked(python: str, machine: str) -> dict[str, Version]:
    """What is installed on Linux."""
    here = {
        "python_version": python,
        "sys_platform": "linux",
        "platform_machine": machine,
    }
    return {
        canonicalize_name(each.name): Version(str(each.specifier).removeprefix("=="))
        for each in requirements("requirements.lock")
        if each.marker is None or each.marker.evaluate(here)
    }


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", PYTHONS)
def test_it_fits_requirements(python: str, machine: str) -> None:
    found = locked(python, machine)
    wanted = requirements("requirements.txt")
    assert len(wanted) > 10
    for each in wanted:
        assert found[canonicalize_name(each.name)] in each.specifier, each


def test_it_has_what_these_packages_need() -> None:
    """By what is installed here; pip refuses a package that is not locked, so each must be."""
    found = locked("3.11", "x86_64")
    waiting = list(requirements("requirements.txt"))
    seen: set[str] = set()
    while waiting:
        each = waiting.pop()
        name = canonicalize_name(each.name)
        if name in seen or (each.marker and not each.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        assert name in found, each
        assert found[name] in each.specifier, each
        waiting += map(Requirement, metadata.requires(name) or ())
    assert len(seen) > 30


def test_each_package_has_digests_and_none_an_address() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.split(r"(?m)^(?=[a-z0-9])", text)[1:]
    assert len(blocks) == len(requirements("requirements.lock"))
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block.splitlines()[0]
    assert "://" not in text
    assert "index-url" not in text


def test_the_pip_of_a_release_candidate_of_python_leaves_nothing_out() -> None:
    """Ubuntu 22.04 has 3.11.0rc1, whose pip takes no python_full_version for true."""
    markers = [str(each.marker) for each in requirements("requirements.lock") if each.marker]
    assert any("python_version" in each for each in markers)
    assert not [each for each in markers if "python_full_version" in each]


def test_what_builds_a_package_from_source_is_locked() -> None:
    """install.sh installs these first."""
    assert {"setuptools", "wheel", "packaging"} <= locked("3.12", "aarch64").keys()
