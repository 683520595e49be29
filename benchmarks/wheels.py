"""Which file of each locked package another machine would install: a wheel, or sources to build.

It asks the package index for every package of requirements.lock, by its digests, as pip on that machine
would, and installs nothing. The status is 0 only if every package has a file.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.harness.child import ROOT

LOCK = ROOT / "requirements.lock"
GLIBC = range(17, 36)  # manylinux_2_17 to that of Ubuntu 22.04, the oldest that install.sh takes
PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True, slots=True)
class File:
    """What pip would install of one package."""

    package: str
    version: str
    kind: str  # "wheel": for that machine; "any": a wheel for every machine; "sources"
    tag: str  # the wheel's platforms; of sources, the ending

    def row(self) -> str:
        """A row of the table in docs/graviton.md."""
        return f"| {self.package} | {self.version} | {self.kind} | {self.tag} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table and a last line in JSON; 1 if pip finds no file for one of the packages."""
    options = _parser().parse_args(arguments)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as locked:
        locked.writelines(_locked(options.machine, options.python))
        locked.flush()
        done = _pip(options.machine, options.python, locked.name)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        print("\n".join(errors) or done.stderr, file=sys.stderr)
        return 1
    files = sorted((_file(each) for each in json.loads(done.stdout)["install"]), key=_name)
    print("| package | version | file | for |", "|---|---|---|---|", sep="\n")
    print(*(each.row() for each in files), sep="\n")
    kinds = {kind: sum(each.kind == kind for each in files) for kind in ("wheel", "any", "sources")}
    print(json.dumps({**vars(options), **kinds, "files": [asdict(each) for each in files]}))
    return 0


def _locked(machine: str, python: str) -> Iterator[str]:
    """The packages of the lock that this machine needs, with their digests.

    Decided here, because pip takes the markers to be about the machine that it runs on.
    """
    environment = {
        **{"platform_machine": machine, "platform_system": "Linux", "sys_platform": "linux"},
        **{"python_version": python, "python_full_version": f"{python}.0", "os_name": "posix"},
    }
    lines = re.sub(r"\\\n\s*", "", LOCK.read_text(encoding="utf-8")).splitlines()
    for line in lines:
        stated, _, digests = line.partition(" --hash")
        if not digests:
            continue
        requirement = Requirement(stated)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield f"{requirement.name}{requirement.specifier} --hash{digests}\n"


def _pip(machine: str, python: str, locked: str) -> subprocess.CompletedProcess[str]:
    # A platform names one version of glibc only, so all that such a machine takes are listed. Without
    # --no-deps pip would refuse sources; the lock has all dependencies anyway.
    platforms = [f"--platform=manylinux_2_{n}_{machine}" for n in reversed(GLIBC)]
    platforms.append(f"--platform=manylinux2014_{machine}")
    options = ["--dry-run", "--quiet", "--report=-", "--no-deps", "--require-hashes"]
    options += [
        "--ignore-installed",
        "--ignore-requires-python",
        "--target=nowhere",
        "--implementation=cp",
    ]
    options += [f"--python-version={python}", f"--requirement={locked}"]
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *platforms],
        capture_output=True,
        text=True,
        check=False,
    )


def _file(found: dict[str, dict[str, str]]) -> File:
    about = found["metadata"]
    name = Path(found["download_info"]["url"].partition("#")[0]).name
    if not name.endswith(".whl"):
        return File(about["name"], about["version"], "sources", name[-7:])
    tags = name.removesuffix(".whl").rpartition("-")[2].split(".")
    tag = min(tags, key=lambda each: (not each.startswith("manylinux_"), each))  # the new name
    return File(about["name"], about["version"], "any" if tag == "any" else "wheel", tag)


def _name(file: File) -> str:
    return file.package.lower().replace("_", "-")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run bench wheels", description=__doc__)
    parser.add_argument(
        "--machine",
        choices=("aarch64", "x86_64"),
        default="aarch64",
        help="default: %(default)s, as Graviton",
    )
    parser.add_argument(
        "--python", choices=PYTHONS, default="3.12", help="of CPython (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
