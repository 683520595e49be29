"""The command line of a benchmark: its options, its last line, its exit status."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from benchmarks._processes import BenchError
from config import ConfigError
from infra_scripts.errors import InfraError


def carry_out(measure: Callable[[], dict[str, Any]]) -> int:
    """Print what ``measure`` returns as one JSON line, and return the exit status.

    What goes wrong is one line on stderr. On SIGTERM, too, ``measure`` is unwound, so that nothing
    it started stays behind.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        result = measure()
    except (BenchError, InfraError, ConfigError, ClientError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    print(json.dumps(result))
    return 0


def whole(least: int) -> Callable[[str], int]:
    """A type for argparse: a whole number of at least ``least``."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return int(text)

    return parse


def sizes(text: str) -> list[int]:
    """A type for argparse: input sizes of the network, separated by commas."""
    return list(dict.fromkeys(whole(32)(each) for each in text.split(",")))
