"""The weights of the demo: those asked for or none; unasked, ImageNet's or, loudly, random ones."""

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo.errors import DemoError
from processor.errors import WeightsError
from processor.network.weights import Weights, obtain

IMAGENET_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
IMAGENET_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels{}.h5"
NOTICE_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """``setting`` is what [model] weights gets; untrained weights tell little of species."""

    setting: str
    weights: Weights

    @property
    def trained(self) -> bool:
        return not self.setting.startswith("random")


def choose(
    asked: str | None, *, include_top: bool, cache_dir: Path, say: Callable[[str], None]
) -> Choice:
    """Get the weights into ``cache_dir``, where the service finds them.

    Only when nothing was asked for, random weights stand in for ImageNet's, and ``say`` hears of it
    at length. Raises :class:`DemoError`.
    """
    setting = setting_of(asked or "imagenet")
    try:
        return Choice(setting, obtain(setting, include_top=include_top, cache_dir=cache_dir))
    except WeightsError as error:
        if asked is not None:
            raise DemoError(f"--weights {asked}: {error}; --weights random needs none") from error
        say(notice(str(error), include_top=include_top))
    return choose("random", include_top=include_top, cache_dir=cache_dir, say=say)


def setting_of(asked: str) -> str:
    """The value of [model] weights for a value of --weights; a path becomes absolute."""
    if asked.startswith("s3:"):
        raise DemoError(f"--weights {asked}: the demo sees no S3 but its own; fetch the file first")
    if asked == "imagenet" or re.fullmatch(r"random(:.*)?", asked):
        return asked
    return str(Path(asked).expanduser().absolute())


def notice(cause: str, *, include_top: bool) -> str:
    """What to know of a run on random weights, and how to get the real ones."""
    file = IMAGENET_FILE.format("" if include_top else "_notop")
    reason = cause.partition(": allow HTTPS")[0].replace(IMAGENET_FOLDER + file, "the file below")
    paragraphs = [
        "ATTENTION: RANDOM WEIGHTS, because it was not possible to get the real ones:",
        f"{reason}.",
        "",
        "VGG-16 now runs with random weights (He-normal, seed 0): the same network at the same "
        "cost, but it has learnt nothing. The map will tell colours and textures apart more than "
        "species. For the real ones allow HTTPS to storage.googleapis.com (Keras downloads them "
        "once, 59 MB), or fetch this file elsewhere and name it with --weights FILE:",
        f"{IMAGENET_FOLDER}{file}",
    ]
    lines = [
        line
        for each in paragraphs
        for line in textwrap.wrap(
            each, NOTICE_WIDTH - 4, break_long_words=False, break_on_hyphens=False
        )
        or [""]
    ]
    bar = "!" * NOTICE_WIDTH
    return "\n".join(["", bar, *(f"!!  {line}".rstrip() for line in lines), bar, ""])
