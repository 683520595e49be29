"""Photos altered as phones, programs and shops alter them, before the service reads them."""

import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

Photo = Image.Image
Alteration = Callable[[Photo, Photo], Photo | bytes]

MIDDLE = 0.707  # of each side: half of the area, where the fruit mostly is
GREY = (124, 117, 104)  # the mean of ImageNet: all but zero to the network


def altered(alteration: Alteration, path: Path, other: Path) -> bytes:
    """The photo in ``path`` as a file, without loss unless that is the alteration.

    Some alterations take a part from the ``other`` photo.
    """
    result = alteration(_opened(path), _opened(other))
    if isinstance(result, bytes):
        return result
    buffer = io.BytesIO()
    result.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _opened(path: Path) -> Photo:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _scaled(share: float) -> Alteration:
    def scale(photo: Photo, _: Photo) -> Photo:
        size = max(1, round(photo.width * share)), max(1, round(photo.height * share))
        return photo.resize(size, Image.Resampling.LANCZOS)

    return scale


def _jpeg(quality: int) -> Alteration:
    def compress(photo: Photo, _: Photo) -> bytes:
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()

    return compress


def _turned(by: Image.Transpose) -> Alteration:
    return lambda photo, _: photo.transpose(by)


def _lit(factor: float) -> Alteration:
    return lambda photo, _: ImageEnhance.Brightness(photo).enhance(factor)


def _middle(photo: Photo, share: float) -> tuple[int, int, int, int]:
    across, down = photo.width * (1 - share) / 2, photo.height * (1 - share) / 2
    return round(across), round(down), round(photo.width - across), round(photo.height - down)


def _cropped(share: float) -> Alteration:
    return lambda photo, _: photo.crop(_middle(photo, share))


def _in_front_of(photo: Photo, background: Photo) -> Photo:
    """The middle of ``photo`` on ``background``, which is stretched to its size."""
    result = background.resize(photo.size)
    box = _middle(photo, MIDDLE)
    result.paste(photo.crop(box), box[:2])
    return result


def _plain(photo: Photo) -> Photo:
    return Image.new("RGB", photo.size, GREY)


ALTERATIONS: dict[str, Alteration] = {
    "same_pixels": lambda photo, _: photo,
    "half_size": _scaled(0.5),
    "quarter_size": _scaled(0.25),
    "jpeg_75": _jpeg(75),
    "jpeg_30": _jpeg(30),
    "jpeg_10": _jpeg(10),
    "mirrored": _turned(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned_90": _turned(Image.Transpose.ROTATE_90),
    "turned_180": _turned(Image.Transpose.ROTATE_180),
    "middle_80": _cropped(0.8),
    "middle_50": _cropped(0.5),
    "darker": _lit(0.5),
    "brighter": _lit(1.5),
    "without_colour": lambda photo, _: photo.convert("L").convert("RGB"),
    "other_background": _in_front_of,
    "without_background": lambda photo, _: _in_front_of(photo, _plain(photo)),
    "only_background": lambda photo, _: _in_front_of(_plain(photo), photo),
}
