"""Decoding: the bytes of an untrusted file become pixels for the network, or a named rejection.

Functions of bytes and arrays: `decode` may run in many threads. The only state of the process is the
one that decodes HEIC, see `processor.photos.heic`. Containers are parsed before Pillow sees them, see
`.containers`, `.jpeg`, `.png` and `.heif`; `.jpeg_scans` and `.png_rows` see that no pixel is missing.
"""

import io
import struct
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import AvifImagePlugin, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.WebPImagePlugin import WebPImageFile

from processor.errors import ProcessorError, RejectedImage, Unavailable
from processor.photos import (
    containers,
    exif,
    footprint,
    foreign,
    heic,
    heif,
    jpeg,
    jpeg_scans,
    png,
    png_rows,
)
from processor.photos.footprint import Footprint, Target

# The name of what `decode` and `vgg16_input` do to a file; every stored row carries it. A change
# that alters the resulting pixels must change it too, or the store mixes two kinds of features.
PREPROCESSING = "reduced2-bilinear-vgg16-1"
PREPROCESSING_FULL = "full-bilinear-vgg16-1"  # with reduced_decode=False, which alters the pixels

_DRAFT_GAP = 2  # JPEG is decoded at 1/2, 1/4 or 1/8, but to no less than twice the target
_REDUCING_GAP = 3.0  # Pillow: from here on "indistinguishable from fair resampling in most cases"

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a worker has as many threads as it has processors already

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


Pixels = npt.NDArray[np.uint8]  # RGB, channels last
Reserve = Callable[[Footprint], AbstractContextManager[None]]  # as MemoryBudget.reserve
Hold = Callable[[Footprint], None]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPhoto:
    """One decoded photo. `width` and `height` are the upright original's, before resizing."""

    pixels: Pixels  # uint8 (size, size, 3), RGB, C-contiguous, possibly read-only
    width: int
    height: int


def decode(
    data: bytes,
    size: int,
    *,
    max_pixels: int = 100_000_000,
    reduced_decode: bool = True,
    unsandboxed_heic: bool = False,
    reserve: Reserve = lambda _: nullcontext(),
) -> DecodedPhoto:
    """Decode the photo in `data`, upright and squashed to size x size.

    Raises RejectedImage, and Unavailable if this machine is the reason.

    Reads JPEG (including the multi-picture files that phones write), PNG, WebP, GIF, BMP, HEIC and
    AVIF, and only the first of several frames (of HEIC and AVIF the primary image). Squashes as
    Keras' load_img does, but antialiased. Colours are taken as sRGB: profiles are ignored, as in
    Keras. Transparent pixels are blended with white, the page that cut-outs are made for; the colour
    stored beneath is arbitrary, often black. White is also what a GIF's first frame leaves of its
    screen. Of 16-bit channels the high byte is used (in 16-bit grey the transparent key colour is
    ignored).

    TIFF, JPEG 2000 and JPEG XL are refused: Pillow does not know the last, reads the first two by
    libraries with a long record of memory errors, and takes the thumbnail in a camera's raw photo,
    which is TIFF too, for the photo. A BMP with zero bytes for its end is read as a picture: the
    format has no checksum.

    A file that declares more than `max_pixels` is rejected undecoded; of a JPEG that is decoded
    reduced, without holding its coefficients, the reduced size counts. Any other takes up to 20
    bytes a pixel while it is decoded (HEIC, AVIF, WebP; a plain JPEG next to nothing). They are held
    by `reserve` from before they are allocated until they are freed; it is called once, and may wait
    or raise.
    A JPEG is rejected if a scan lost data, and read if it lacks no more than its end marker.
    `reduced_decode` decodes JPEG near the target size and shrinks large images in two steps:
    faster, nearly the same pixels; rows made without it must name PREPROCESSING_FULL.
    HEIC is decoded by :mod:`.heic` in a process apart; where that cannot be locked up, and not
    `unsandboxed_heic`, that is this machine's fault. Raises ValueError for a size or limit below 1.

    Equal bytes are rejected for equal reasons, so a retry is pointless. The exception is a photo that
    `reserve` refuses as `too-large`: it may pass on a machine with more memory.
    """
    if size < 1 or max_pixels < 1:
        raise ValueError(f"size and max_pixels must be at least 1, not {size} and {max_pixels}")
    draft, gap = (_DRAFT_GAP * size, _REDUCING_GAP) if reduced_decode else (None, None)
    with ExitStack() as held:

        def hold(footprint: Footprint) -> None:
            held.enter_context(reserve(footprint))

        try:
            target = Target(size, draft, gap)
            if heif.is_heif(data):
                still = heif.parse(data, max_pixels)
                if still.codec == heif.HEVC:
                    hold(heic.footprint(data, still))
                    small, *upright = heic.decode(data, still, size, gap, unlocked=unsandboxed_heic)
                    return DecodedPhoto(_over_white(small), *upright)
                hold(footprint.avif(still, data, target))
            return _decode(data, target, max_pixels, hold)
        except ProcessorError:
            raise
        except Exception as error:  # on broken files Pillow raises nearly every type there is
            traceback.clear_frames(error.__traceback__)  # of the pixels, while they are still held
            if isinstance(error, MemoryError):
                raise Unavailable("this machine had not enough memory to decode it") from error
            if isinstance(error, OSError) and error.errno:  # the system's; Pillow's have none
                raise Unavailable(f"this machine could not decode it: {error}") from error
            raise _rejection(error, len(data)) from error


def _decode(data: bytes, target: Target, max_pixels: int, hold: Hold) -> DecodedPhoto:
    image, orientation = _open(data, target, max_pixels, hold)
    size = target.size
    width, height = image.size
    box: tuple[float, float, float, float] = (0, 0, width, height)
    if target.draft and (draft := image.draft(None, (target.draft, target.draft))):
        box = draft[1]
    # By Pillow's reading of the size, and of JPEG what it is going to allocate.
    containers.check_size(*image.size, max_pixels)
    image.load()
    # Transposed after the resize, when it is cheap; the same pixels, because the target is square
    # and the filter symmetric.
    small = _resizable(image).resize((size, size), Image.Resampling.BILINEAR, box, target.gap)
    if orientation in _TRANSPOSE:
        small = small.transpose(_TRANSPOSE[orientation])
    if orientation >= 5:
        width, height = height, width
    return DecodedPhoto(_over_white(small), width, height)


def _open(data: bytes, target: Target, max_pixels: int, hold: Hold) -> tuple[Image.Image, int]:
    """The image, not decoded yet, and its EXIF orientation; what decoding it takes is held.

    Avoids Image.open, whose pixel limit is global to the process and starts as a warning.
    """
    if data.startswith(b"\xff\xd8\xff"):
        photo = jpeg.parse(data)
        if photo.buffered:
            containers.check_size(photo.frame.width, photo.frame.height, max_pixels)
        picture = jpeg_scans.open_jpeg(photo)
        hold(footprint.jpeg(picture, photo, target))
        return picture, exif.orientation(photo.exif)
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] != b"CgBI":
        parsed = png.parse(data, max_pixels)
        drawing = png_rows.CompletePng(parsed)
        hold(footprint.png(drawing, parsed.stream, target))
        return drawing, exif.orientation(parsed.exif)
    if data.startswith((b"GIF87a", b"GIF89a")) and not foreign.is_text(data):
        stream = containers.gif(data, max_pixels)
        frame = GifImageFile(io.BytesIO(stream))
        hold(footprint.gif(frame, stream, target))
        return frame, 1
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP" and not foreign.is_text(data):
        width, height = containers.webp_size(data, max_pixels)
        hold(footprint.webp(data, width, height, target))
        if (less := containers.webp_less(data)) and _is_webp(less):
            detail = "its end is lost, there are zero bytes instead; upload it again"
            raise RejectedImage("corrupt", detail)
        image = WebPImageFile(io.BytesIO(data))
        return image, exif.orientation(image.info.get("exif", b""))
    if heif.is_heif(data):  # AVIF; `decode` has seen to its size, its footprint and to HEIC
        still = AvifImageFile(io.BytesIO(heif.as_still(data)))
        return still, exif.orientation(still.info.get("exif", b""))
    if data.startswith(b"BM") and containers.bmp(data, max_pixels):
        bitmap = BmpImageFile(io.BytesIO(data))
        hold(footprint.bmp(bitmap, target))
        return bitmap, 1
    raise foreign.rejection(data)


def _is_webp(data: bytes) -> bool:
    try:
        WebPImageFile(io.BytesIO(data)).load()
    except Exception:  # see `decode`
        return False
    return True


def _resizable(image: Image.Image) -> Image.Image:
    """The image as L, RGB or RGBa (colours times alpha): modes in which averaging is correct."""
    beside = _beside_frame(image)
    if image.mode == "I;16":  # Pillow's own conversion clips at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if isinstance(image, BmpImageFile) and image.mode == "RGBA" and not image.getbbox():
        image = image.convert("RGB")  # transparent throughout: by software that means no alpha
    if image.has_transparency_data:
        return (image if image.mode == "RGBA" else image.convert("RGBA")).convert("RGBa")
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    for box in beside:
        image.paste("white", box)
    return image


def _beside_frame(image: Image.Image) -> list[tuple[int, int, int, int]]:
    """What a GIF's first frame leaves of its screen: above, below, left and right of it."""
    if not isinstance(image, GifImageFile) or not image.dispose_extent:
        return []
    (left, top, right, bottom), (width, height) = map(int, image.dispose_extent), image.size
    boxes = [(0, 0, width, top), (0, bottom, width, height)]
    boxes += [(0, top, left, bottom), (right, top, width, bottom)]
    return [box for box in boxes if box[0] < box[2] and box[1] < box[3]]


def _over_white(image: Image.Image) -> Pixels:
    if image.mode != "RGBa":
        return np.asarray(image.convert("RGB"))
    pixels: Pixels = np.asarray(image)
    return pixels[..., :3] + (255 - pixels[..., 3:])  # fits: no colour times alpha exceeds alpha


def _rejection(error: Exception, length: int) -> RejectedImage:
    cause = f"{error} ({type(error).__name__})"
    if isinstance(error, Image.DecompressionBombError):
        return RejectedImage("too-large", f"scale it down: {cause}")
    if isinstance(error, EOFError | IndexError | struct.error) or "truncated" in cause.lower():
        return RejectedImage(
            "truncated", f"ends early, after {length:,} bytes; upload it again: {cause}"
        )
    if "cannot handle" in cause or "Unsupported BMP" in cause:
        return RejectedImage("unsupported", f"a rare format; save it as a plain one: {cause}")
    return RejectedImage("corrupt", f"cannot be decoded; replace the file: {cause}")
