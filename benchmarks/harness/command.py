"""The command line of a benchmark: options, scratch folder, result line, exit status."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.harness import machine
from benchmarks.harness.errors import BenchError
from common.config import ConfigError
from infra_scripts.errors import InfraError

Result = dict[str, Any]  # JSON-able; every benchmark has keys of its own, see README.md
Bench = Callable[[argparse.Namespace, Path], Result]


def run(parser: argparse.ArgumentParser, bench: Bench, arguments: Sequence[str] | None) -> int:
    """Print the machine and then, as one line of JSON, what ``bench`` finds; the exit status.

    ``bench`` receives the options and an empty folder, which is deleted afterwards. An expected
    error becomes one line on stderr. SIGTERM, too, unwinds ``bench``, so that nothing it started is
    left behind.
    """
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        here = machine.describe()
        print(here.lines(), flush=True)
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            result = bench(options, Path(scratch))
    except (BenchError, InfraError, ConfigError, ClientError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    print(json.dumps({**result, "machine": asdict(here)}))
    return 0


def parser(name: str, about: str | None, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of ``./run bench NAME``."""
    return argparse.ArgumentParser(
        prog=f"./run bench {name}",
        description=about,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_photos(parser: argparse.ArgumentParser) -> None:
    """Which photos to use, for :func:`benchmarks.harness.photo_source.gather`."""
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="real photos (default: the demo's drawn sample)"
    )
    parser.add_argument(
        "--limit",
        type=whole(0),
        default=512,
        metavar="N",
        help="photos to use, evenly spaced; 0: all of DIR (default: %(default)s)",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", type=Path, metavar="PATH", help="trained weights (default: random ones)"
    )


def add_rows_of_stores(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rows",
        type=wholes(100),
        default="1142,50000,1000000",
        metavar="N,…",
        help="rows of the stores (default: %(default)s)",
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


def add_components(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--components",
        type=whole(1),
        default=64,
        metavar="K",
        help="components of the PCA (default: %(default)s)",
    )


def add_photos_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--photos-dir",
        type=Path,
        metavar="DIR",
        help="real photos (default: the demo's drawn sample)",
    )


def short(count: int) -> str:
    """A number in keys of the JSON object: 10m, 200k, 1142."""
    for unit, name in ((1_000_000, "m"), (1_000, "k")):
        if count % unit == 0:
            return f"{count // unit}{name}"
    return str(count)


def whole(least: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least ``least``."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return parse


def wholes(least: int) -> Callable[[str], list[int]]:
    """An argparse type: such numbers, separated by commas, without duplicates."""

    def parse(text: str) -> list[int]:
        return list(dict.fromkeys(map(whole(least), text.split(","))))

    return parse
