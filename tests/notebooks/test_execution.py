"""The execution: outputs are kept, and where it stops is said in one line."""

import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks.execution import NotebookError, execute, heading_of


def executed(
    folder: Path, *cells: nbformat.NotebookNode
) -> tuple[nbformat.NotebookNode, list[str]]:
    notebook, heard = new_notebook(cells=[*cells]), []
    try:
        execute(notebook, folder, folder / "private", lambda heading, _: heard.append(heading))
    except NotebookError as error:
        heard.append(str(error))
    return notebook, heard


def test_cells_run_in_a_kernel_of_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", "before")
    notebook, heard = executed(
        tmp_path,
        new_markdown_cell("# Title\n\ntext"),
        new_code_cell("import os, sys; print(os.getcwd(), sys.prefix, os.environ['IPYTHONDIR'])"),
        new_markdown_cell("## More"),
        new_code_cell("1 + 1"),
        new_code_cell("class OneLineError(Exception): pass\nraise OneLineError('a\\nb')"),
        new_code_cell("print('never')"),
    )
    printed = notebook.cells[1].outputs[0].text.split()
    assert printed == [str(tmp_path), os.sys.prefix, str(tmp_path / "private" / "ipythondir")]
    assert os.environ["IPYTHONDIR"] == "before"
    assert notebook.cells[3].outputs[0].data["text/plain"] == "2"
    assert notebook.cells[5].outputs == []
    assert heard == ["Title", "Title", "More", "More", "More", "under 'More': OneLineError: a"]


def test_a_kernel_that_is_killed_is_said(tmp_path: Path) -> None:
    _, heard = executed(tmp_path, new_code_cell("import os; os.kill(os.getpid(), 9)"))
    assert heard[-1] == (
        "under '': the notebook's process was killed (by the out-of-memory killer?)"
    )


def test_headings() -> None:
    assert heading_of(new_markdown_cell("text\n### A *b*\n## c")) == "A *b*"
    assert heading_of(new_markdown_cell("text")) == ""
    assert heading_of(new_code_cell("# a comment")) == ""
