"""A child process, for work whose imports and memory should not stay in the caller's process.

A module that runs this way reports a failure as its only line on stdout, with exit status 1; for any
other exit, the last line on stderr is taken as the cause.
"""

import os
import subprocess
import sys
from pathlib import Path

from processor.errors import ChildError


def run(module: str, *arguments: str) -> str:
    """Run ``python -m module`` to its end; what it prints on stdout. Raises :class:`ChildError`."""
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
    last = (done.stderr.strip() or "no output").splitlines()[-1]
    raise ChildError(reason, f"it ended with status {done.returncode} ({last})")
