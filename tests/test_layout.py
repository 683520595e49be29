"""Who may import whom; see docs/architecture.md."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ingest", "processor", "infra_scripts")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

# What only some files may import, and which.
RESERVED = {
    "tensorflow": {"processor/engine_tensorflow.py"},
    "keras": {"processor/engine_tensorflow.py"},
    "ncnn": {"processor/engine_ncnn.py"},
    "deltalake": {"processor/tables.py", "processor/reduce.py", "processor/report.py"},
    "moto": {
        f"infra_scripts/embedded/{name}.py" for name in ("server", "queue", "events", "listing")
    },
    "config": {
        "ingest/__main__.py",
        "infra_scripts/__main__.py",
        "processor/__main__.py",
        "processor/report.py",
        "processor/service.py",
    },
}
PURE = {
    "ingest/events.py": set(),
    "processor/images.py": {"numpy", "PIL", "processor"},
    "processor/containers.py": set(),
    "processor/moments.py": {"numpy"},
    "processor/pca.py": {"numpy", "scipy", "processor"},
    "processor/outcomes.py": {"processor"},
}


def imported(path: Path) -> Iterator[str]:
    """Top-level names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_to_the_layers(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    modules = set(imported(path))
    package = name.partition("/")[0]
    forbidden = {
        "ingest": {"processor", "infra_scripts"},
        "processor": {"infra_scripts"},
        "infra_scripts": {"processor", "ingest"},
    }[package]
    assert not modules & (forbidden | {"demo", "benchmarks", "tests"})
    for module, allowed in RESERVED.items():
        assert module not in modules or name in allowed


@pytest.mark.parametrize("name", PURE)
def test_pure_files_stay_pure(name: str) -> None:
    outside = {each for each in imported(ROOT / name) if each not in sys.stdlib_module_names}
    assert outside <= PURE[name]
