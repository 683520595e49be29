"""The compiled network: made once, compared with Keras, refused when it disagrees."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from processor.errors import NetworkError, WeightsError
from processor.network import compiled
from processor.network.spec import NetworkSpec

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", params=compiled.COMPILERS)
def wanted(request: pytest.FixtureRequest, spec: NetworkSpec) -> NetworkSpec:
    return replace(spec, engine=request.param)


@pytest.fixture(scope="module")
def offline() -> tuple[str, ...]:
    """What runs a command in a network namespace of its own; nothing where that is not allowed."""
    alone = ("unshare", "--map-root-user", "--net")
    refused = subprocess.run([*alone, "true"], capture_output=True, check=False).returncode
    return () if refused else alone


@pytest.fixture(scope="module")
def made(
    wanted: NetworkSpec, offline: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> NetworkSpec:
    script = """
import sys
from pathlib import Path
from processor.network import compiled
from processor.network.spec import NetworkSpec
print(compiled.obtain(NetworkSpec.from_json(sys.argv[1]), Path(sys.argv[2])).to_json())
"""
    folder = tmp_path_factory.mktemp("compiled")
    command = [*offline, sys.executable, "-c", script, wanted.to_json(), str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return NetworkSpec.from_json(done.stdout)


def test_it_is_made_compared_and_recorded(made: NetworkSpec) -> None:
    assert made.compiled
    path = Path(made.compiled.path)
    version = compiled.COMPILERS[made.engine].version()
    assert path.name.startswith(f"{made.engine}-{version}-")
    assert made.layer in path.name
    assert made.weights_digest in path.name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made.compiled.sha256
    record = json.loads(path.with_suffix(".json").read_text())
    assert 0 < record["relative_l2"] <= compiled.TOLERANCE
    assert 0 < record["largest"] <= compiled.TOLERANCE
    left = {each.name for each in path.parent.iterdir()}
    assert left == {path.name, path.with_suffix(".json").name, ".lock"}


def test_it_is_made_once(made: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_make", None)
    assert made.compiled
    again = compiled.obtain(replace(made, compiled=None), Path(made.compiled.path).parent)
    assert again == made


@pytest.mark.parametrize("damage", ["file", "record", "no record"])
def test_a_damaged_one_is_made_again(
    wanted: NetworkSpec,
    made: NetworkSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    monkeypatch.setattr(compiled.child, "run", lambda *_: '{"relative_l2": 1e-6, "largest": 1e-6}')
    assert made.compiled
    shutil.copytree(Path(made.compiled.path).parent, tmp_path, dirs_exist_ok=True)
    first = compiled.obtain(wanted, tmp_path)
    assert first.compiled
    path = Path(first.compiled.path)
    if damage == "file":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif damage == "record":
        path.with_suffix(".json").write_text("{")
    else:
        path.with_suffix(".json").unlink()
    assert compiled.obtain(wanted, tmp_path) == first
    assert hashlib.sha256(path.read_bytes()).hexdigest() == first.compiled.sha256


def test_one_that_disagrees_is_refused_with_the_figure(
    wanted: NetworkSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "TOLERANCE", 1e-9)
    message = r"does not agree with Keras here: relative L2 \d.*allowed 1e-09: set model.engine"
    with pytest.raises(NetworkError, match=message):
        compiled.obtain(wanted, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]


def test_a_child_that_dies_is_reported(
    wanted: NetworkSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled.child.sys, "executable", "/bin/false")
    with pytest.raises(NetworkError, match=r"ended with status 1 \(no output\): give it more mem"):
        compiled.obtain(wanted, tmp_path)


def test_other_weights_and_unwritable_caches_are_refused(
    wanted: NetworkSpec, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="delete the file"):
        compiled.obtain(replace(wanted, weights_digest="0" * 64), tmp_path / "a")
    (tmp_path / "file").touch()
    with pytest.raises(NetworkError, match=r"cannot keep the compiled network in .*room for it"):
        compiled.obtain(wanted, tmp_path / "file")


def test_it_is_compiled_without_internet_access(
    made: NetworkSpec, offline: tuple[str, ...]
) -> None:
    if not offline:
        pytest.skip("no network namespace: needs unprivileged user namespaces or root (unshare -n)")
    assert made.compiled
