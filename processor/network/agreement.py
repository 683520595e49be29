"""Agreement: how far an engine's features are from Keras', on probe images.

Runs in its own process, because Keras needs TensorFlow: ``python -m processor.network.agreement SPEC
TOLERANCE``, where SPEC is from :meth:`NetworkSpec.to_json`. Prints the figures as JSON and exits with
status 0 if they are within the tolerance; otherwise prints the reason and exits with 1.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from processor.errors import NetworkError, WeightsError
from processor.network.engines import load
from processor.network.spec import Features, NetworkSpec
from processor.photos.decode import Pixels


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far an engine's features are from Keras': the largest figures of any photo."""

    relative_l2: float  # norm of the difference over the norm of Keras' features
    largest: float  # largest difference over the largest of Keras' features

    def within(self, tolerance: float) -> bool:
        """Whether both are at most ``tolerance``; NaN is not."""
        return self.relative_l2 <= tolerance and self.largest <= tolerance


def compare(found: Features, wanted: Features) -> Agreement:
    """The distance of ``found`` from ``wanted``, both (photos, dimension), photo by photo."""
    difference = np.abs(found.astype(np.float64) - wanted)
    tiny = np.finfo(np.float32).tiny  # not 0: features that are all 0 agree with nothing but 0
    norms = np.maximum(np.linalg.norm(wanted.astype(np.float64), axis=1), tiny)
    peaks = np.maximum(np.abs(wanted).max(axis=1).astype(np.float64), tiny)
    return Agreement(
        float((np.linalg.norm(difference, axis=1) / norms).max()),
        float((difference.max(axis=1) / peaks).max()),
    )


def probes(size: int) -> Pixels:
    """Eight images, uint8 (8, size, size, 3): waves with photo-like grain, noise, black and white."""
    generator = np.random.Generator(np.random.PCG64(16))
    y, x = np.mgrid[0:size, 0:size] / size
    phase, speed = generator.uniform(0, 6, (2, 5, 1, 1, 3))
    waves = np.sin(speed * (x[..., None] * np.cos(phase) + y[..., None] * np.sin(phase)) + phase)
    grain = generator.normal(0, 8, waves.shape)
    noise = generator.integers(0, 256, (1, size, size, 3))
    plain = np.full((2, size, size, 3), [[[[0]]], [[[255]]]])
    return np.concatenate([np.clip(127 + 120 * waves + grain, 0, 255), noise, plain]).astype(
        np.uint8
    )


def main(arguments: Sequence[str]) -> int:
    """Run the process that the module's docstring describes; its exit status."""
    text, tolerance = arguments
    spec = NetworkSpec.from_json(text)
    try:
        network = load(spec)
        images = probes(spec.input_size)
        repeated = np.arange(max(len(images), network.batch_size)) % len(images)  # a whole batch
        found = network.features(images[repeated])
        keras = load(replace(spec, engine="tensorflow", compiled=None))
        wanted = keras.features(images)[repeated]
    except (NetworkError, WeightsError) as error:
        print(error)
        return 1
    agreement = compare(found, wanted)
    if not agreement.within(float(tolerance)):
        print(
            f"engine {spec.engine!r} does not agree with Keras here: relative L2 "
            f"{agreement.relative_l2:.1e}, largest difference {agreement.largest:.1e}, allowed "
            f"{tolerance}: set model.engine to tensorflow"
        )
        return 1
    print(json.dumps(asdict(agreement)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
