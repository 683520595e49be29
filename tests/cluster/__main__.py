"""``python -m tests.cluster``: a service on a standalone cluster of a master and three workers.

The workers are other users without the driver's checkout, come late and are killed. Its last line is a
JSON object; its status is 0 only if no photo was lost, twice or suspected.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.harness.errors import BenchError
from common import aws
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.errors import InfraError
from tests.cluster.machines import cluster
from tests.cluster.photos import ManyPhotos
from tests.cluster.trial import SHORT, Trial, TrialError
from tests.soak.bucket import SoakError
from tests.systemd.photos import settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps, and print what each found."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument(
        "--photos", type=int, default=300, help="in each step (default: %(default)s)"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the logs of the service and the workers"
    )
    parser.add_argument(
        "--short", action="store_true", help=f"take only these steps: {'; '.join(SHORT)}"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the workers end with it
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    found: dict[str, object] = {}
    failed = ""
    step = "begun"
    try:
        with _aws() as embedded, cluster(folder, embedded) as machines:
            _say(f"as root, so workers are apart: {machines.isolated}")
            values = settings(f"cluster-{uuid.uuid4().hex[:8]}") | {
                "FRUITS_SERVICE__WORK_DIR": str(folder / "driver"),
                "FRUITS_SERVICE__CACHE_DIR": str(folder / "driver" / "cache"),
                "FRUITS_SERVICE__STALL_SECONDS": "300",
                # Large, so that what is measured is computing; and several micro-batches a step.
                "FRUITS_MODEL__INPUT_SIZE": "100" if options.short else "224",
                "FRUITS_BATCH__MAX_PHOTOS": str(max(1, options.photos // 3)),
            }
            trial = Trial(machines, folder, ManyPhotos(values), options.photos)
            with contextlib.closing(trial):
                steps = trial.steps(values)
                for step in SHORT if options.short else steps:
                    began = time.monotonic()
                    found[step] = facts = steps[step]()
                    told = ", ".join(f"{key} {value}" for key, value in facts.items())
                    _say(f"{time.monotonic() - began:6.1f} s  {step}: {told}")
    except (TrialError, SoakError, InfraError, BenchError, RuntimeError) as error:
        failed = step
        _say(f"FAILED  {step}: {error}")
    if options.keep:
        _say(f"logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"found": found, "failed": failed or None}), flush=True)
    return 1 if failed else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _aws() -> Iterator[EmbeddedAws]:
    """The embedded AWS; the environment of this process is its."""
    with EmbeddedAws() as embedded:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(embedded.environment)
        aws.forget()
        yield embedded


if __name__ == "__main__":
    sys.exit(main())
