"""Scripts that a test runs in a process of their own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``before``, then the script, which may be indented; whatever its status is."""
    return subprocess.run(
        [sys.executable, "-c", before + textwrap.dedent(script)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
