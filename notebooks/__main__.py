"""``python -m notebooks``: the notebook executed, on an AWS that is embedded, as one HTML file."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat

from demo import command, sample
from demo.filled import LOG_FILE, filled, make_ready
from demo.progress import Display, duration
from notebooks import page
from notebooks.execution import NotebookError, execute

NOTEBOOK = Path(__file__).parent / "fruits.ipynb"
PAGE_FILE, FAILED_FILE, TRACE_FILE = "fruits.html", "fruits-failed.html", "notebook-failure.txt"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 only when every cell ran without an error and the page is written."""
    options = _parser().parse_args(arguments)
    return command.carry_out(lambda display: _run(options, display), options.out / TRACE_FILE)


def _run(options: argparse.Namespace, display: Display) -> None:
    out: Path = options.out
    make_ready(options.photos, out, (PAGE_FILE, FAILED_FILE, TRACE_FILE))
    began = time.monotonic()
    with filled(options.photos, options.weights, out, display, draw_sample) as store:
        before = time.monotonic()
        notebook = nbformat.read(NOTEBOOK, as_version=4)

        def report(heading: str, share: float) -> None:
            display.step(f"notebook: {heading}", share=share)

        try:
            execute(notebook, NOTEBOOK.parent, store.work / "kernel", report)
        except NotebookError as error:
            page.write(notebook, "Fruits: stopped by an error", out / FAILED_FILE)
            raise NotebookError(f"{error} (in context: {out / FAILED_FILE})") from error
        page.write(notebook, "Fruits", out / PAGE_FILE)
        took = time.monotonic() - before
    display.clear()
    whole = duration(time.monotonic() - began)
    print(f"{out / PAGE_FILE}  the executed notebook ({duration(took)} of {whole})")
    print(f"{out / LOG_FILE}  what the service did before, as JSON lines")


def draw_sample(folder: Path) -> None:
    """The demo's drawn photos, and two files that are not photos, so that there are rejects to see."""
    sample.write(folder)
    species = sorted(folder.iterdir())[0]
    whole = min(species.iterdir()).read_bytes()
    (species / "upload-broke-off.jpg").write_bytes(whole[: len(whole) // 2])
    (species / "notes.jpg").write_text("3 apples, 2 pears\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run notebook",
        description="Executes notebooks/fruits.ipynb: this starts S3 and SQS on this machine, "
        "deploys into them, drops photos in, runs the real service until the queue is empty, and "
        "then the notebook, top to bottom. Nothing leaves the machine.",
        epilog=f"The notebook's first cell says how to run it on AWS. {command.SETTINGS}",
    )
    command.add_options(
        parser,
        drawn="120 drawn photos of fruit, and two files that are none",
        out="notebook_output",
        content="fruits.html goes; an earlier one is replaced",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
