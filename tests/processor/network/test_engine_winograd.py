"""winograd: without TensorFlow, in several threads, and on one copy of its weights."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from processor.errors import NetworkError
from processor.network.engines import load
from processor.network.spec import NetworkSpec
from tests.support.networks import DIGEST, by_keras, difference, photos

ROOT = Path(__file__).resolve().parents[3]


def test_it_is_within_1e_5_of_keras_at_the_sizes_in_use(weights, winograd: NetworkSpec) -> None:
    for size, count in ((224, 2), (100, 3)):
        found = load(replace(winograd, input_size=size)).features(photos(count, size))
        wanted = by_keras(weights.path, count, size, "avg_pool")
        assert difference(found, wanted).max() < 5e-6


def test_a_compiled_file_other_than_the_specs_is_refused(winograd: NetworkSpec) -> None:
    assert winograd.compiled
    with pytest.raises(NetworkError, match=f"not {DIGEST}: delete it and start"):
        load(replace(winograd, compiled=replace(winograd.compiled, sha256=DIGEST)))
    with pytest.raises(NetworkError, match=r"no compiled network gone .*start the service"):
        load(replace(winograd, compiled=replace(winograd.compiled, path="gone")))
    with pytest.raises(ValueError, match="needs a compiled file"):
        load(replace(winograd, compiled=None))


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_share_the_photos(winograd: NetworkSpec, threads: int) -> None:
    pixels = photos(11)
    wanted = load(winograd).features(pixels)
    for batch_size in (0, 5):
        spec = replace(winograd, threads=threads, batch_size=batch_size)
        assert difference(load(spec).features(pixels), wanted).max() < 1e-5


def test_it_needs_neither_tensorflow_nor_a_compiler(winograd: NetworkSpec) -> None:
    script = """
import sys
sys.addaudithook(lambda event, _: event == "subprocess.Popen" and sys.exit("a process"))
import numpy as np
from processor.network.engines import load
from processor.network.spec import NetworkSpec
print(load(NetworkSpec.from_json(sys.argv[1])).features(np.zeros((2, 48, 48, 3), np.uint8)).shape)
assert not {"tensorflow", "ncnn"} & set(sys.modules)
"""
    command = [sys.executable, "-c", script, winograd.to_json()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(2, 512)\n", "")


def test_processes_share_one_copy_of_the_weights(winograd: NetworkSpec) -> None:
    """Each further one takes less memory of its own than the weights have."""
    script = """
import sys
import numpy as np
from processor.network.engines import load
from processor.network.spec import NetworkSpec
load(NetworkSpec.from_json(sys.argv[1])).features(np.zeros((4, 48, 48, 3), np.uint8))
print("ready", flush=True)
sys.stdin.read()
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, winograd.to_json()],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for each in processes:
            assert each.stdout
            assert each.stdout.readline() == "ready\n"
        rollup = Path(f"/proc/{processes[0].pid}/smaps_rollup").read_text()
        kilobytes = {line.split()[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
        shared = kilobytes["Shared_Clean:"] + kilobytes["Private_Clean:"]
        assert shared > 200_000  # the weights are mapped
        assert kilobytes["Private_Clean:"] + kilobytes["Private_Dirty:"] < 150_000
    finally:
        for each in processes:
            each.communicate()
