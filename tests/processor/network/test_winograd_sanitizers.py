"""winograd.c under the sanitizers of addresses and undefined behaviour, in a process of its own."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from processor.network import native, winograd_file

ROOT = Path(__file__).resolve().parents[3]
FLAGS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]


def sanitized(source: Path, target: native.InstructionSet, folder: Path) -> Path:
    library = folder / "library.so"
    macros = [f"-march={target.name}", f"-DLANES={target.lanes}", f"-DOUTPUTS={target.outputs}"]
    command = ["gcc", "-std=gnu11", "-O2", "-g", "-shared", "-fPIC", *macros, *FLAGS]
    subprocess.run([*command, str(source), "-o", str(library)], check=True)
    return library


def run(library: Path, target: native.InstructionSet) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    environment = os.environ | {
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own are not of interest
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.sanitized",
            str(library),
            target.name,
            str(target.outputs),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("few", [False, True], ids=["as in production", "few channels"])
@pytest.mark.parametrize("target", native.instruction_sets(), ids=lambda each: each.name)
def test_no_shape_of_the_network_reaches_beyond_its_memory(
    target: native.InstructionSet, few: bool, tmp_path: Path
) -> None:
    if few:
        target = replace(target, outputs=target.lanes)
    done = run(sanitized(winograd_file.SOURCE, target, tmp_path), target)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "clean\n"


def test_a_fault_would_be_found(tmp_path: Path) -> None:
    text = winograd_file.SOURCE.read_text()
    faulty = text.replace("column >= 0 && column < width", "column >= 0 && column <= width")
    assert faulty != text
    source = tmp_path / "winograd.c"
    source.write_text(faulty)
    target = native.instruction_sets()[0]
    done = run(sanitized(source, target, tmp_path), target)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
