"""A Python process of its own for work that the caller's process should not carry.

A module that runs this way prints why it failed as its only line on stdout, with exit status 1; for any
other end, the last line on stderr is taken for the cause.
"""

import os
import subprocess
import sys
from pathlib import Path

from processor.errors import ChildError


def run(module: str, *arguments: str) -> str:
    """What ``python -m module`` prints on stdout; raises :class:`ChildError`."""
    root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | {"PYTHONPATH": search},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return done.stdout
    reason = done.stdout.strip() if done.returncode == 1 else ""
    last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
    raise ChildError(reason, f"it ended with status {done.returncode} ({last})")
