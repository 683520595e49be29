"""``python -m infra_scripts.embedded``: run an embedded AWS and print how to reach it."""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence

from infra_scripts.embedded import EmbeddedAws
from infra_scripts.errors import EmbeddedAwsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; the exit status is 1 if it could not start."""
    parser = argparse.ArgumentParser(
        prog="python -m infra_scripts.embedded",
        description="Run S3, SQS and CloudWatch Logs on this machine, in memory, until Ctrl-C. "
        "Prints the export lines that point AWS clients to it.",
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free)")
    parser.add_argument(
        "--region", default="eu-west-1", help="region to report (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # an early one would print a stack trace
    try:
        with EmbeddedAws(options.port, options.region, errors=sys.stderr.fileno()) as aws:
            for name, value in aws.environment.items():
                print(f"export {name}={shlex.quote(value)}")
            print("# Ctrl-C ends it; everything stored in it is lost.", flush=True)
            signal.sigwait(signals)
    except EmbeddedAwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
