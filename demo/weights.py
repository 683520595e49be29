"""The demo's weights: those requested and no others; by default ImageNet's, else random ones, loudly."""

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
    """``setting`` is the value for [model] weights; untrained weights say little about species."""

    setting: str
    weights: Weights

    @property
    def trained(self) -> bool:
        return not self.setting.startswith("random")


def choose(
    requested: str | None, *, include_top: bool, cache_dir: Path, say: Callable[[str], None]
) -> Choice:
    """Get the weights into ``cache_dir``, where the service finds them.

    Only if none were requested may random weights stand in for ImageNet's; then ``say`` gets a
    notice of several lines. Raises :class:`DemoError`.
    """
    setting = setting_of(requested or "imagenet")
    try:
        return Choice(setting, obtain(setting, include_top=include_top, cache_dir=cache_dir))
    except WeightsError as error:
        if requested is not None:
            raise DemoError(
                f"--weights {requested}: {error}; --weights random needs no file"
            ) from error
        say(notice(str(error), include_top=include_top))
    return choose("random", include_top=include_top, cache_dir=cache_dir, say=say)


def setting_of(requested: str) -> str:
    """The value of [model] weights for a value of --weights; a path becomes absolute."""
    if requested.startswith("s3:"):
        raise DemoError(
            f"--weights {requested}: the demo sees no S3 but its own; fetch the file first"
        )
    if requested == "imagenet" or re.fullmatch(r"random(:.*)?", requested):
        return requested
    return str(Path(requested).expanduser().absolute())


def notice(cause: str, *, include_top: bool) -> str:
    """What to know about a run on random weights, and how to get the real ones."""
    file = IMAGENET_FILE.format("" if include_top else "_notop")
    reason = cause.partition(": allow HTTPS")[0].replace(IMAGENET_FOLDER + file, "the file below")
    paragraphs = [
        "ATTENTION: RANDOM WEIGHTS, because the real ones could not be obtained:",
        f"{reason}.",
        "",
        "VGG-16 now runs with random weights (He-normal, seed 0): the same network at the same "
        "cost, but it has learnt nothing. The map will show colour and texture rather than "
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
