"""The import rules between rooms, checked by what gets loaded; see docs/architecture.md."""

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "common",
    "ingest",
    "processor",
    "infra_scripts",
    "demo",
    "slides",
    "benchmarks",
    "notebooks",
)
FILES = [
    path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "node_modules" not in path.parts
]

# Each room, and which of our packages its import may load, directly or indirectly.
GROUND = {"common", "processor.errors"}
EVENTS = {"ingest.events", "ingest.records"}
LOWER = {f"processor.{room}" for room in ("photos", "network", "store", "spark")}
ROOMS: dict[str, set[str]] = {
    "common": set(),
    "ingest": {"common"},
    "infra_scripts": {"common"},
    "processor.errors": set(),
    "processor.photos": GROUND,
    "processor.store": GROUND,
    "processor.spark": GROUND,
    "processor.network": GROUND | {"processor.photos"},
    "processor.matrix": GROUND | {"processor.store", "processor.spark"},
    "processor.pipeline": GROUND | EVENTS | LOWER,
    "processor.answers": GROUND | {"processor.photos", "processor.network", "processor.store"},
    "processor.report": GROUND
    | {f"processor.{room}" for room in ("photos", "store", "spark", "matrix", "answers")},
    "processor.service": GROUND
    | LOWER
    | {"ingest", "processor.pipeline", "processor.matrix", "processor.answers", "processor.report"},
}
FACES = {"processor", "ingest"}  # __init__.py with a docstring only

# What importing a module, or all modules of a room, must not load.
TASK = {
    *("processor.spark.session", "processor.spark.background", "ingest.queue", "ingest.inbox"),
    *("processor.store.index", "processor.store.keyed", "processor.store.delta"),
    *("deltalake", "sqlite3", "watchtower", "pydantic", "tensorflow", "ncnn"),
}
UNLOADED: dict[str, set[str]] = {
    "common.logs": {"watchtower", "boto3", "pydantic"},
    "ingest.source": {"watchtower", "pyarrow", "pydantic"},
    "processor.photos": {"pyspark", "pyarrow", "deltalake", "tensorflow"},
    "processor.network": {"pyspark", "pyarrow", "deltalake", "tensorflow", "keras", "ncnn"},
    "processor.store": {"pyspark", "tensorflow"},
    "processor.matrix": {"tensorflow", "ncnn"},
    "processor.answers": {"pyspark", "tensorflow", "keras", "ncnn"},
    "processor.service": {"tensorflow", "keras", "ncnn"},
    "processor.pipeline.tasks": TASK,
    "processor.matrix.tasks": TASK | {"PIL", "pyspark"},
    "processor.report": {"tensorflow", "keras", "ncnn"},
    **{f"processor.report.{name}": TASK for name in ("draw", "files", "reasons", "thumbnails")},
}

# What only these files may import, even inside a function.
RESERVED: dict[str, set[str]] = {
    "tensorflow": {"processor/network/engine_tensorflow.py"},
    "keras": {"processor/network/engine_tensorflow.py"},
    "ncnn": {"processor/network/engine_ncnn.py"},
    "ctypes": {
        *("processor/network/native.py", "processor/network/winograd_code.py"),
        *("processor/photos/sandbox.py", "processor/spark/processes.py"),
    },
    "pillow_heif": {"processor/photos/heic_child.py"},
    "deltalake": {"processor/store/delta.py", "processor/store/delta_aws.py"},
    "obstore": {"processor/photos/native_s3.py"},
    "watchtower": {"processor/service/cloudwatch.py"},
    "sqlite3": {"processor/store/index.py"},
    "boto3": {"common/aws.py", "common/aws_errors.py"},
    "moto": {
        f"infra_scripts/embedded/{name}.py"
        for name in (
            *("access", "server", "queue", "events", "listing"),
            *("cloudformation", "resources", "statistics"),
        )
    },
    "common.config": {
        *("infra_scripts/assembly.py", "infra_scripts/__main__.py", "ingest/__main__.py"),
        *("processor/assembly.py", "processor/commands.py", "processor/__main__.py"),
    },
}
TEMPLATE = {
    *("bucket", "document", "instance", "log_group", "network", "queries", "queues", "resource"),
    *("role", "user_data"),
}
PURE: dict[str, set[str]] = {
    "common/layout.py": set(),
    "common/metrics.py": set(),
    "infra_scripts/machines.py": set(),
    "infra_scripts/policies.py": {"infra_scripts"},
    **{
        f"infra_scripts/template/{name}.py": {"infra_scripts", "common"}
        for name in ("alarm", "alarm_topic", "alarms", "dashboard")
    },
    **{f"infra_scripts/template/{name}.py": {"infra_scripts"} for name in sorted(TEMPLATE)},
    "ingest/events.py": {"ingest"},
    "processor/errors.py": set(),
    "processor/photos/containers.py": {"processor"},
    "processor/photos/bitstreams.py": set(),
    "processor/photos/exif.py": set(),
    "processor/photos/foreign.py": {"processor"},
    "processor/photos/heif.py": {"processor"},
    "processor/photos/jpeg.py": {"processor"},
    "processor/photos/jpeg_scans.py": {"PIL", "processor"},
    "processor/photos/png.py": {"processor"},
    "processor/photos/png_rows.py": {"PIL", "processor"},
    "processor/photos/decode.py": {"numpy", "PIL", "processor"},
    "processor/photos/footprint.py": {"PIL", "processor"},
    "processor/photos/memory.py": {"processor"},
    "processor/answers/labels.py": {"numpy", "processor"},
    "processor/answers/near_duplicates.py": {"numpy"},
    "processor/answers/nearest.py": {"numpy", "pyarrow"},
    "processor/report/neighbours.py": {"numpy"},
    "processor/report/points.py": {"numpy"},
    "processor/report/sample.py": {"numpy", "pyarrow", "processor"},
    "processor/report/summary.py": set(),
    "processor/matrix/npz.py": {"numpy"},
    "processor/matrix/moments.py": {"numpy", "processor"},
    "processor/matrix/pca.py": {"numpy", "scipy", "processor"},
    "processor/matrix/refit_policy.py": {"processor"},
    "processor/pipeline/outcomes.py": {"processor"},
    "processor/report/advice.py": set(),
    "processor/report/page.py": {"numpy", "common", "processor"},
    "processor/report/sheets.py": {"numpy", "PIL"},
    "processor/report/spread.py": {"numpy"},
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def modules_of(place: str) -> list[str]:
    """The modules of a room, or the one module that ``place`` names."""
    folder = ROOT / place.replace(".", "/")
    if not folder.is_dir():
        return [place]
    paths = [path for path in sorted(folder.glob("*.py")) if path.name != "__main__.py"]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


@functools.cache
def loaded(place: str) -> frozenset[str]:
    """All modules that a fresh process has loaded once it has imported a room or a module."""
    script = (
        "import importlib, json, sys\n"
        f"for name in {modules_of(place)!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return frozenset(json.loads(done.stdout))


def in_any(module: str, places: Iterable[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """All modules that a file imports, anywhere in it, by their full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(f"{node.module}.{each.name}" for each in node.names)
    return frozenset(found)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_loads_only_what_is_below_it(room: str) -> None:
    ours = {each for each in loaded(room) if each.partition(".")[0] in PACKAGES} - FACES
    allowed = {room} | ROOMS[room]
    assert not {each for each in ours if not in_any(each, allowed)}
    assert room == "common" or "common.config" not in ours


@pytest.mark.parametrize("place", UNLOADED)
def test_what_is_costly_or_foreign_is_not_loaded(place: str) -> None:
    assert not {each for each in loaded(place) if in_any(each, UNLOADED[place])}


@pytest.mark.parametrize("package", RESERVED)
def test_what_only_some_files_may_import(package: str) -> None:
    users = {name_of(path) for path in FILES if any(in_any(i, {package}) for i in imported(path))}
    service = ("common/", "ingest/", "processor/", "infra_scripts/")
    assert {name for name in users if name.startswith(service)} <= RESERVED[package]


@pytest.mark.parametrize("name", PURE)
def test_pure_files_stay_pure(name: str) -> None:
    packages = {each.partition(".")[0] for each in imported(ROOT / name)}
    assert packages - sys.stdlib_module_names <= PURE[name]


@pytest.mark.parametrize("package", ["common", "ingest", "processor", "infra_scripts"])
def test_production_code_imports_nothing_of_the_rest(package: str) -> None:
    for path in FILES:
        if path.relative_to(ROOT).parts[0] == package:
            rest = {"demo", "slides", "benchmarks", "notebooks", "tests"}
            assert not any(in_any(each, rest) for each in imported(path))


def test_no_file_imports_a_main() -> None:
    for path in FILES:
        assert not [each for each in imported(path) if "__main__" in each.split(".")], path


def public_modules() -> Iterator[Path]:
    """The public modules of the service, each of which has a test file of its name."""
    for path in FILES:
        package = path.relative_to(ROOT).parts[0]
        if package not in ("demo", "slides", "benchmarks") and not path.name.startswith("_"):
            yield path


@pytest.mark.parametrize("path", list(public_modules()), ids=name_of)
def test_each_public_module_has_a_test_file_of_its_name(path: Path) -> None:
    place = path.relative_to(ROOT)
    assert (ROOT / "tests" / place.parent / f"test_{place.name}").exists()
