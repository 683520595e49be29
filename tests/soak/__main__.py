"""``python -m tests.soak``: kills and faults against the promises, in two buckets one after another."""

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from common import aws
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.errors import InfraError
from tests.soak.bucket import SoakError
from tests.soak.expected import expected_features
from tests.soak.outcome import Outcome
from tests.soak.report import amiss, summary
from tests.soak.schedule import orders
from tests.soak.settings import settings
from tests.soak.stage import Plan, Stage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; status 0 only if the tables are the bucket and nothing else is amiss."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # all that was started ends with it
    options.out = options.out or Path(tempfile.mkdtemp(prefix="soak-"))
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(line: str) -> None:
        clock = time.monotonic() - began
        print(f"{clock:7.1f} s  {line}", file=sys.stderr, flush=True)

    say(f"seed {options.seed}; logs: {options.out}")
    try:
        with _aws(options.endpoint, options.out):
            outcomes = _stages(options, say)
    except (SoakError, InfraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = summary(outcomes, options.seed, options.minutes)
    failed = amiss(found)
    if failed:
        say(f"FAILED: {', '.join(failed)}; the logs are in {options.out}")
    print(json.dumps(found), flush=True)
    return 1 if failed else 0


def _stages(options: argparse.Namespace, say) -> list[Outcome]:
    cache_dir = options.out / "cache"
    expected = expected_features(settings("soak", cache_dir))
    say("the network is ready")
    sequence = orders(options.seed)
    outcomes = []
    for number, versioned in enumerate((False, True)):
        name = "versioned" if versioned else "unversioned"
        folder = options.out / name
        folder.mkdir(exist_ok=True)
        plan = Plan(
            seconds=options.minutes * 30,
            seed=options.seed * 2 + number,
            kills_per_minute=options.kills_per_minute,
            fault_share=options.fault_share,
        )
        say(f"the {name} bucket")
        stage = Stage(folder, cache_dir, plan, sequence, expected, say, versioned=versioned)
        outcomes.append(stage.run())
        say(f"the {name} bucket: {_in_short(outcomes[-1])}")
    return outcomes


def _in_short(outcome: Outcome) -> str:
    last = outcome.last
    return (
        f"{outcome.record.kills} kills, {outcome.faults.total()} faults, {outcome.events} events, "
        f"{last.rows} rows, {len(last.lost)} lost, {len(last.duplicated)} duplicated, "
        f"{len(last.wrong)} wrong"
    )


@contextlib.contextmanager
def _aws(endpoint: str | None, out: Path) -> Iterator[None]:
    """The environment of an AWS: the embedded one, or the one at ``endpoint``."""
    if endpoint:
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        aws.forget()
        yield
        return
    with (out / "aws.errors").open("wb") as errors, EmbeddedAws(errors=errors) as embedded:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(embedded.environment)
        aws.forget()
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=10, help="of kills and faults, half of them in each bucket"
    )
    parser.add_argument(
        "--seed", type=int, default=int(time.time()) % 100_000, help="default: another each time"
    )
    parser.add_argument(
        "--endpoint", metavar="URL", help="an S3 and SQS to use instead of the embedded AWS"
    )
    parser.add_argument("--kills-per-minute", type=float, default=4.0, metavar="N")
    parser.add_argument(
        "--fault-share", type=float, default=0.1, metavar="SHARE", help="of requests; default: 0.1"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="for the logs; default: a temporary folder"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
