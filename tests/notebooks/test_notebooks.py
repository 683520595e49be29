"""The notebook and its command: what is committed, and what is refused."""

from pathlib import Path

import nbformat
import pytest

from demo import command
from notebooks import __main__ as notebooks
from processor.errors import RejectedImage
from processor.photos.decode import decode


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(notebooks.NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 20
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for arguments, said in (
        (["--photos", "missing"], "--photos missing does not exist"),
        (["--photos", "empty"], "--photos empty has no photos in it"),
        (["--photos", "empty", "--out", "empty"], "are both empty"),
        (["--out", "file"], "cannot write to --out file"),
        (["--weights", "gone.h5"], "cannot read weights"),
        (["--weights", "gone"], "is not a source of weights"),
    ):
        assert notebooks.main(arguments) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        assert said in error
    assert not list(tmp_path.rglob("*.html"))


def test_the_sample_has_photos_and_two_files_that_are_none(tmp_path: Path) -> None:
    notebooks.draw_sample(tmp_path)
    reasons = []
    for path in sorted(tmp_path.glob("*/*")):
        try:
            decode(path.read_bytes(), 32)
        except RejectedImage as error:
            reasons.append((path.name, error.reason))
    assert reasons == [("notes.jpg", "unsupported"), ("upload-broke-off.jpg", "truncated")]
