"""ncnn: its file verified, without TensorFlow, beside other threads, on photos decoded small."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from processor.errors import NetworkError
from processor.network.engines import load
from processor.photos.decode import decode
from tests.support.networks import DIGEST, photos, ready

ROOT = Path(__file__).resolve().parents[3]


def test_a_compiled_file_other_than_the_specs_is_refused(ncnn):
    other = replace(ncnn, compiled=replace(ncnn.compiled, sha256=DIGEST))
    with pytest.raises(NetworkError, match=f"not {DIGEST}: delete it and start"):
        load(other)
    lost = replace(ncnn, compiled=replace(ncnn.compiled, path="no.ncnn"))
    with pytest.raises(NetworkError, match=r"no compiled network no\.ncnn .*start the service"):
        load(lost)
    with pytest.raises(ValueError, match="needs a compiled file"):
        load(replace(ncnn, compiled=None))


def test_ncnn_needs_neither_tensorflow_nor_internet_access(ncnn):
    script = """
import sys
sys.addaudithook(lambda event, _: event.startswith("socket.") and sys.exit(f"network: {event}"))
import numpy as np
from processor.network.engines import load
from processor.network.spec import NetworkSpec
print(load(NetworkSpec.from_json(sys.argv[1])).features(np.zeros((2, 48, 48, 3), np.uint8)).shape)
assert "tensorflow" not in sys.modules
"""
    command = [sys.executable, "-c", script, ncnn.to_json()]
    alone = ["unshare", "--map-root-user", "--net"]  # a network namespace without any network
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0:
        command = [*alone, *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2, 512)\n"
    assert done.stderr == ""


@pytest.mark.parametrize("size", [100, 224])
def test_reduced_decoding_hardly_changes_features(tmp_path, weights, size):
    """On drawn photos like a phone's: 12 megapixels, fine texture, quality 90."""
    loaded = load(ready(weights, tmp_path, "ncnn", input_size=size))
    for seed in range(2):
        small = Image.fromarray(photos(1, 256, seed)[0])
        large = np.asarray(small.resize((4000, 3000), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = np.random.default_rng(seed).integers(-20, 20, large.shape, np.int16)
        buffer = io.BytesIO()
        Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)).save(
            buffer, "JPEG", quality=90
        )
        reduced, full = (
            loaded.features(decode(buffer.getvalue(), size, reduced_decode=each).pixels[None])[0]
            for each in (True, False)
        )
        cosine = reduced @ full / np.linalg.norm(reduced) / np.linalg.norm(full)
        assert cosine >= 0.999
