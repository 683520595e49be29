"""The class archive: made in a process of its own, once; what is outdated goes."""

import sys
from pathlib import Path

import pytest

from processor.errors import JavaError
from processor.spark import class_archive, session


def test_it_replaces_those_of_other_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That a JVM makes one and accepts it: ``./run setup`` and test_session.py."""
    path, outdated = tmp_path / "spark-new.jsa", tmp_path / "spark-old.jsa"
    outdated.touch()

    def start(master: str, memory: str, folder: Path, options: str) -> Path:
        assert (folder.parent, outdated.exists()) == (tmp_path, False)
        return Path(options.partition("-XX:ArchiveClassesAtExit=")[2])

    monkeypatch.setattr(session, "start", start)
    monkeypatch.setattr(class_archive, "_load_classes", lambda made, _: made.write_text("classes"))
    class_archive.make(path)
    assert path.read_text() == "classes"
    assert list(tmp_path.iterdir()) == [path]


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
