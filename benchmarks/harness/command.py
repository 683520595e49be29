"""The command line of a benchmark: its options, its scratch folder, its last line, its exit status."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.harness import machine as _machine
from benchmarks.harness.child import BenchError
from common.config import ConfigError
from infra_scripts.errors import InfraError

Bench = Callable[[argparse.Namespace, Path], dict[str, Any]]


def run(parser: argparse.ArgumentParser, bench: Bench, arguments: Sequence[str] | None) -> int:
    """Print the machine and, as one JSON line, what ``bench`` finds; return the exit status.

    ``bench`` gets the options and an empty folder, which is deleted afterwards.
    """
    asked = parser.parse_args(arguments)

    def measure() -> dict[str, Any]:
        machine = _machine.describe()
        print(_machine.lines(machine), flush=True)
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            return {**bench(asked, Path(scratch)), "machine": machine}

    return carry_out(measure)


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


def parser(name: str, about: str | None, epilog: str = "") -> argparse.ArgumentParser:
    """For ``./run bench NAME``."""
    return argparse.ArgumentParser(
        prog=f"./run bench {name}",
        description=about,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_photos(parser: argparse.ArgumentParser) -> None:
    """What photos to take, for :func:`benchmarks.harness.photo_source.gather`."""
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="real photos (default: the demo's drawn sample)"
    )
    parser.add_argument(
        "--limit",
        type=whole(0),
        default=512,
        metavar="N",
        help="photos to take, evenly spaced; 0: all of DIR (default: %(default)s)",
    )


def add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        type=whole(32),
        default=224,
        metavar="PX",
        help="input size of the network (default: %(default)s)",
    )


def add_sizes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sizes",
        type=wholes(32),
        default="224,100",
        metavar="PX,…",
        help="input sizes of the network (default: %(default)s)",
    )


def add_repeats(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--repeats", type=whole(1), default=default, metavar="R", help="default: %(default)s"
    )


def whole(least: int) -> Callable[[str], int]:
    """A type for argparse: a whole number of at least ``least``."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return int(text)

    return parse


def wholes(least: int) -> Callable[[str], list[int]]:
    """A type for argparse: such numbers, separated by commas; each once."""

    def parse(text: str) -> list[int]:
        return list(dict.fromkeys(map(whole(least), text.split(","))))

    return parse
