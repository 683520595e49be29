"""The service runs on requirements.txt alone: it imports nothing that only requirements-dev.txt has."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
OURS = ("common", "ingest", "processor", "infra_scripts")
EMBEDDED = ROOT / "infra_scripts" / "embedded"  # the embedded AWS: for the demo and the tests


def production_files() -> Iterator[Path]:
    for package in OURS:
        yield from (each for each in (ROOT / package).rglob("*.py") if EMBEDDED not in each.parents)


def imported(path: Path) -> Iterator[str]:
    """Dotted names of what a file imports as it runs, at its top or in a function."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def production_distributions() -> set[str]:
    """Those that requirements.txt names, and all their dependencies."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    waiting = [Requirement(line) for each in lines if (line := each.partition("#")[0].strip())]
    found: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonical(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += map(Requirement, metadata.requires(name) or ())
    return found


def test_production_code_imports_production_packages_only() -> None:
    distributions = metadata.packages_distributions()
    production = production_distributions()
    assert {"pyspark", "boto3", "botocore", "keras"} <= production

    def allowed(name: str) -> bool:
        top = name.partition(".")[0]
        if top in OURS:
            return not name.startswith("infra_scripts.embedded")
        return top in sys.stdlib_module_names or any(
            canonical(each) in production for each in distributions.get(top, ())
        )

    assert not [
        f"{path.relative_to(ROOT)}: {name}"
        for path in production_files()
        for name in imported(path)
        if not allowed(name)
    ]
