"""``python -m slides``: the presentation as HTML and PDF; status 0 only if every slide is legible."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from slides import legibility

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DECKS = ("presentation", "presentation.fr")  # docs/NAME.md
MARP = HERE / "node_modules" / "@marp-team" / "marp-cli" / "marp-cli.js"
SECONDS = 300  # for one conversion


class SlidesError(Exception):
    """A program that is missing, or one that failed; the message says which."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    try:
        node, chromium = _program("node"), _program("chromium")
        for name in DECKS:
            page = out / f"{name}.html"
            for target in (page, page.with_suffix(".pdf")):
                _convert(node, chromium, ROOT / "docs" / f"{name}.md", target)
                print(f"  {target}", flush=True)
            slides = legibility.look(page, chromium, out / "png" / name)
            print(f"  {out / 'png' / name}/  {len(slides)} slides")
            faults += (
                f"{name}, slide {n}: {fault}"
                for n, found in enumerate(slides, 1)
                for fault in found
            )
    except SlidesError as error:
        faults = [str(error)]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _program(name: str) -> str:
    """Its path; what is beside this interpreter comes first."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which(name, path=places)
    if found is None:
        raise SlidesError(f"there is no {name} on this machine: ./run slides installs it")
    return found


def _convert(node: str, chromium: str, deck: Path, target: Path) -> None:
    """Have Marp write ``target``, whose suffix is the format. Raises :class:`SlidesError`."""
    command = [node, str(MARP), "--config", str(HERE / "marp.config.mjs"), str(deck)]
    command += ["--browser", "chrome", "--browser-path", chromium, "--output", str(target)]
    if target.suffix == ".pdf":
        command += ["--pdf-notes", "--pdf-outlines"]
    # Chromium's own sandbox does not start as root.
    environment = os.environ | ({"CHROME_NO_SANDBOX": "1"} if os.geteuid() == 0 else {})
    target.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlidesError(f"Marp did not write {target.name} within {SECONDS} s") from error
    if done.returncode or not target.exists():
        raise SlidesError(f"Marp could not write {target.name}:\n{done.stdout}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run slides",
        description="Make docs/presentation.md and docs/presentation.fr.md into HTML, PDF with the "
        "speaker's notes, and a picture of each slide. Fails, and says where, if a slide overflows, if "
        "words meet, or if they are too small to read.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("slides_output"),
        metavar="DIR",
        help="where to write (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
