"""A child process: its output is returned, or is the reason; any other exit is reported."""

from pathlib import Path

import pytest

from processor.errors import ChildError
from processor.network import child


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for modules that the tests write, outside this project."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, script: str, *arguments: str) -> str:
    (folder / "written.py").write_text(script)
    return child.run("written", *arguments)


def test_its_output_is_returned(folder: Path) -> None:
    script = "import sys; print(*sys.argv[1:], sep='|'); print('aside', file=sys.stderr)"
    assert run(folder, script, "a b", "ü", "") == "a b|ü|\n"


def test_it_finds_our_modules_wherever_it_runs(folder: Path) -> None:
    script = "import os, processor.errors; print(os.getcwd())"
    assert run(folder, script) == f"{folder.resolve()}\n"


def test_it_has_no_input_to_wait_for(folder: Path) -> None:
    assert run(folder, "import sys; print(repr(sys.stdin.read()))") == "''\n"


def test_output_that_is_not_utf_8_is_replaced(folder: Path) -> None:
    assert run(folder, r"import os; os.write(1, b'a\xffb')") == "a\N{REPLACEMENT CHARACTER}b"


def test_its_own_report_is_the_reason(folder: Path) -> None:
    script = "import sys; print('no weights'); print('aside', file=sys.stderr); sys.exit(1)"
    with pytest.raises(ChildError) as failure:
        run(folder, script)
    assert (failure.value.reason, str(failure.value)) == ("no weights", "no weights")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise ValueError('bad')", "it ended with status 1 (ValueError: bad)"),
        ("import sys; print('half'); sys.exit(3)", "it ended with status 3 (no output)"),
        (
            "import os, sys; print('one\\ntwo', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)",
            "it ended with status -9 (two)",
        ),
    ],
)
def test_any_other_exit_is_reported_with_the_last_line(
    folder: Path, script: str, message: str
) -> None:
    with pytest.raises(ChildError) as failure:
        run(folder, script)
    assert (failure.value.reason, str(failure.value)) == ("", message)


def test_a_missing_module(folder: Path) -> None:
    with pytest.raises(ChildError, match=r"status 1 \(.*No module named none_such"):
        child.run("none_such")
