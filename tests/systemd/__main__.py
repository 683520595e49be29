"""``python -m tests.systemd``: installs the service under a real systemd, strikes it, upgrades it.

Its last line is a JSON object; its status is 0 only if each step passed and in the end nothing was lost.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from common import aws
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.errors import InfraError
from tests.soak.bucket import SoakError
from tests.support import metadata
from tests.systemd.box import Box, TrialError
from tests.systemd.photos import Photos, settings
from tests.systemd.trial import SHORT, Step, Trial


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps, in a box that is booted for it and taken down in the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.systemd", description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", help="leave the box up, to look around in it"
    )
    parser.add_argument(
        "--reuse",
        action="store_true",
        help="use the Python packages of an earlier trial, if they are still in the box",
    )
    parser.add_argument(
        "--short", action="store_true", help=f"take only these steps: {'; '.join(SHORT)}"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the box goes down with it
    folder = Path(tempfile.mkdtemp(prefix="systemd-trial-"))
    folder.chmod(0o755)
    passed: dict[str, object] = {}
    failed = ""
    try:
        box = Box(folder)
        with _aws(), metadata.served() as (notices, address), _booted(box, keep=options.keep):
            values = settings(f"trial-{uuid.uuid4().hex[:8]}")
            where = {
                "AWS_EC2_METADATA_DISABLED": "false",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": address,
            }
            trial = Trial(box, folder, Photos(values), notices)
            trial.prepare(values | where, reuse=options.reuse)
            steps = trial.steps
            names = SHORT if options.short else tuple(steps)
            failed = _run({name: steps[name] for name in names}, box, passed)
    except (TrialError, SoakError, InfraError) as error:
        failed = failed or str(error)
        print(f"error: {error}", file=sys.stderr)
    print(json.dumps({"passed": passed, "failed": failed or None}), flush=True)
    return 1 if failed else 0


def _run(steps: Mapping[str, Step], box: Box, passed: dict[str, object]) -> str:
    """The name of the step that failed, of which all is shown; empty if none did."""
    for name, step in steps.items():
        began = time.monotonic()
        try:
            found = step()
        except Exception as error:
            _say(f"FAILED  {name}: {error}")
            _say(box.sh("journalctl --no-pager -o short -n 80 -u fruits; ps -ef", check=False))
            return name
        passed[name] = found
        facts = ", ".join(f"{key} {value}" for key, value in found.items())
        _say(f"{time.monotonic() - began:6.1f} s  {name}: {facts}")
    return ""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _booted(box: Box, *, keep: bool) -> Iterator[None]:
    box.up()
    try:
        yield
    finally:
        if not keep:
            box.down()


@contextlib.contextmanager
def _aws() -> Iterator[None]:
    """The embedded AWS, which the box reaches on loopback; the environment of this process is its."""
    with EmbeddedAws() as embedded:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(embedded.environment)
        aws.forget()
        yield


if __name__ == "__main__":
    sys.exit(main())
