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
    "tensorflow": {"processor/network/engine_tensorflow.py"},
    "keras": {"processor/network/engine_tensorflow.py"},
    "ncnn": {"processor/network/engine_ncnn.py"},
    "deltalake": {
        "processor/store/delta.py",
        "processor/matrix/matrix.py",
        "processor/service/status.py",
    },
    "moto": {
        f"infra_scripts/embedded/{name}.py" for name in ("server", "queue", "events", "listing")
    },
    "common.config": {
        "infra_scripts/__main__.py",
        "infra_scripts/assembly.py",
        "processor/__main__.py",
        "processor/service/status.py",
        "processor/service/runner.py",
    },
}
PURE = {
    "ingest/events.py": set(),
    "processor/photos/decode.py": {"numpy", "PIL", "processor"},
    "processor/photos/containers.py": set(),
    "processor/matrix/moments.py": {"numpy"},
    "processor/matrix/pca.py": {"numpy", "scipy", "processor"},
    "processor/pipeline/outcomes.py": {"processor"},
}


def imported(path: Path) -> Iterator[str]:
    """Top-level names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
            yield from (f"{node.module}.{name.name}" for name in node.names)
            yield node.module or ""


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
    outside = {
        each
        for each in imported(ROOT / name)
        if each.partition(".")[0] not in sys.stdlib_module_names and "." not in each
    }
    assert outside <= PURE[name]
