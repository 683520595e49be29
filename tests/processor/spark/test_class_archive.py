"""The class archive: made in a process of its own, once; what is outdated goes."""

import subprocess
import sys
from pathlib import Path

import pytest

from processor.errors import JavaError
from processor.spark import class_archive, session

ROOT = Path(__file__).resolve().parents[3]


def test_it_is_made_and_a_jvm_accepts_it(tmp_path: Path) -> None:
    path, outdated = tmp_path / "spark-new.jsa", tmp_path / "spark-old.jsa"
    outdated.touch()
    script = """
import sys
from pathlib import Path
from processor.spark import class_archive
class_archive.make(Path(sys.argv[1]))
"""
    command = [sys.executable, "-c", script, str(path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size > 50_000_000


def test_one_that_is_there_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[Path] = []
    monkeypatch.setattr(sys, "argv", ["class_archive"])
    monkeypatch.setattr(session, "class_archive", lambda java: tmp_path / f"spark-{java}.jsa")
    monkeypatch.setattr(class_archive, "make", lambda path: (made.append(path), path.touch()))
    assert class_archive.main() == class_archive.main() == 0
    assert made == [tmp_path / f"spark-{session.check_java()}.jsa"]


def test_without_java_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check_java() -> str:
        raise JavaError("Spark needs Java")

    monkeypatch.setattr(sys, "argv", ["class_archive"])
    monkeypatch.setattr(session, "check_java", check_java)
    assert class_archive.main() == 1
    assert capsys.readouterr().err == "error: Spark needs Java\n"
