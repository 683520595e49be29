"""Releases of this repository: as it is, with a change, and one that cannot become ready."""

import shutil
from pathlib import Path

from infra_scripts.release import CONFIGURATION, FILES, FOLDERS, ROOT


def write(folder: Path) -> Path:
    """The release of this repository, in a new folder."""
    for name in FOLDERS:
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    for name in (*FILES, CONFIGURATION):
        shutil.copy(ROOT / name, folder)
    return folder


def write_changed(folder: Path) -> Path:
    """One that says more."""
    file = write(folder) / "processor" / "__init__.py"
    file.write_text(file.read_text() + "# Another release.\n")
    return folder


def write_broken(folder: Path) -> Path:
    """One whose service ends at once."""
    file = write(folder) / "processor" / "__main__.py"
    file.write_text('raise SystemExit("error: this release is broken")\n')
    return folder
