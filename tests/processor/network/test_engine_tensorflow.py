"""TensorFlow in its process: weights verified, one trace, the configured threads, no chatter."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from processor.errors import NetworkError, WeightsError
from processor.network import engines
from processor.network.engines import load
from tests.support.networks import DIGEST, photos

ROOT = Path(__file__).resolve().parents[3]


def test_one_trace_serves_all_batches(tensorflow):
    loaded = load(tensorflow)
    for count in (1, 2, 3, 4, 5, 11):
        loaded.features(photos(count))
    assert loaded._run.experimental_get_tracing_count() == 1


def test_weights_other_than_the_specs_are_refused(tensorflow):
    with pytest.raises(WeightsError, match=f"not {DIGEST}: delete the file"):
        load(replace(tensorflow, weights_digest=DIGEST))
    assert replace(tensorflow, weights_digest=DIGEST) not in engines._loaded


def test_a_missing_weights_file_is_named(tensorflow):
    with pytest.raises(
        WeightsError, match=r"there is no weights file nowhere\.npz on this machine"
    ):
        load(replace(tensorflow, weights_path="nowhere.npz"))


def test_a_running_tensorflow_refuses_another_number_of_threads(tensorflow):
    load(tensorflow)  # TensorFlow runs from here on
    with pytest.raises(NetworkError, match=r"cannot give TensorFlow 63 threads.*fresh process"):
        load(replace(tensorflow, threads=63))


def test_the_process_gets_the_configured_threads_and_no_chatter(tensorflow):
    script = """
import pickle, sys
import numpy as np
from processor.network.engines import load
spec = pickle.loads(bytes.fromhex(sys.argv[1]))
assert "tensorflow" not in sys.modules
load(spec).features(np.zeros((1, 48, 48, 3), np.uint8))
import os, tensorflow
threading = tensorflow.config.threading
os.write(2, b"passed on")
print(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
"""
    wanted = pickle.dumps(replace(tensorflow, threads=2)).hex()
    done = subprocess.run(
        [sys.executable, "-c", script, wanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2 1\n"
    assert done.stderr == "passed on"


def test_what_others_write_during_the_import_is_passed_on():
    script = """
import os
from processor.network.engine_tensorflow import _without_chatter
with _without_chatter():
    os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on. And so on.\\nkept\\n")
    raise SystemExit(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr == "kept\n"
