"""Expected features: what the network gives for each content, computed here, once."""

from collections.abc import Sequence

import numpy as np

from common.config import load
from processor import assembly
from processor.network import engines
from processor.photos.decode import decode
from tests.soak.contents import contents


def expected_features(settings: dict[str, str]) -> dict[str, Sequence[float]]:
    """By the name of the content; the good ones. The network is compiled if that was not done."""
    spec = assembly.network_spec(load(environment=settings))
    network = engines.load(spec)
    good = [each for each in contents() if each.good]
    pixels = np.stack([decode(each.data, spec.input_size).pixels for each in good])
    features = network.features(pixels)
    return dict(zip((each.name for each in good), features.tolist(), strict=True))
