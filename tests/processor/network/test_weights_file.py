"""The weights file: its format, what is refused, and the digest that reading verifies."""

import zipfile

import numpy as np
import pytest

from processor.errors import WeightsError
from processor.network.weights import obtain
from processor.network.weights_file import layout, read, write
from tests.support.drawn_weights import NOTOP, random_arrays

pytestmark = pytest.mark.usefixtures("tidy")


def test_the_file_is_a_plain_npz(tmp_path):
    path = obtain("random", include_top=False, cache_dir=tmp_path).path
    with np.load(path, allow_pickle=False) as arrays:
        assert list(arrays) == list(NOTOP)
        assert arrays["block5_conv3/kernel"].shape == (3, 3, 512, 512)
    with zipfile.ZipFile(path) as archive:
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}


def test_layout_with_top():
    top = layout(include_top=True)
    assert list(top)[:26] == list(NOTOP)
    assert list(top)[26:] == ["fc1/kernel", "fc1/bias", "fc2/kernel", "fc2/bias"]
    assert top["fc1/kernel"] == (25088, 4096)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays[:-1], "has nothing where VGG-16 has block5_conv3/bias"),
        (lambda arrays: arrays[1:], "has block1_conv1/bias where VGG-16 has block1_conv1/kernel"),
        (lambda arrays: [(arrays[0][0], arrays[0][1][:2]), *arrays[1:]], "in VGG-16 float32"),
        (lambda arrays: [(arrays[0][0], arrays[0][1] * np.inf), *arrays[1:]], "NaN or infinite"),
    ],
)
def test_a_weights_file_is_written_only_from_vgg16(tmp_path, change, message):
    arrays = change(list(random_arrays()))
    with pytest.raises(WeightsError, match=message):
        write(tmp_path / "a.npz", arrays, include_top=False, origin="mine")


def test_reading_verifies_the_digest(saved):
    folder, digest = saved
    for _ in read(folder / "plain.npz", include_top=False, digest=digest):
        pass
    with pytest.raises(WeightsError, match=f"digest {digest}, not {'0' * 64}"):
        for _ in read(folder / "plain.npz", include_top=False, digest="0" * 64):
            pass


def test_float64_weights_file_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **{name: np.zeros(shape) for name, shape in NOTOP.items()})
    with pytest.raises(WeightsError, match=r"is float64 \(3, 3, 3, 64\)"):
        obtain(str(tmp_path / "a.npz"), include_top=False, cache_dir=tmp_path)
