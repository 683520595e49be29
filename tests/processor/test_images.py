"""Every kind of file that can be drawn, broken or forged, through processor.images."""

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFile

from processor.images import PREPROCESSING, PREPROCESSING_FULL, RejectedImage, decode, vgg16_input

RED, GREEN, BLUE, GREY = (220, 30, 40), (30, 200, 60), (40, 50, 210), (128, 128, 128)
HUGE = 50_000


def scene(width=64, height=48, mode="RGB"):
    """Four quadrants: red and green above, blue and grey below."""
    image = Image.new("RGB", (width, height), GREY)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), RED)
    draw.rectangle((width // 2, 0, width, height // 2 - 1), GREEN)
    draw.rectangle((0, height // 2, width // 2 - 1, height), BLUE)
    return image.convert(mode)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind, body):
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def png(width, height, depth, colour, row, *extra):
    """A PNG whose rows are all `row` (packed samples), with `extra` chunks before the data."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress((b"\0" + row) * min(height, 1000))
    parts = [chunk(b"IHDR", head), *extra, chunk(b"IDAT", body), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_chunk(data, *chunks):
    """The PNG with chunks put in behind its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def with_segment(data, marker, body):
    """The JPEG with a segment put in front."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def with_jpeg_size(data, width, height):
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def corners(photo):
    """The four corner colours, a tenth of the side away from the edge."""
    near = max(1, len(photo.pixels) // 10)
    return [photo.pixels[y, x].astype(int) for y in (near, -near) for x in (near, -near)]


def assert_scene(photo, tolerance=3):
    for seen, drawn in zip(corners(photo), (RED, GREEN, BLUE, GREY), strict=True):
        assert np.abs(seen - drawn).max() <= tolerance, (seen, drawn)


def assert_colour(data, colour, tolerance=1):
    pixels = decode(data, 8).pixels.astype(int)
    assert np.abs(pixels - colour).max() <= tolerance, pixels[0, 0]


def rejection(data, **options):
    with pytest.raises(RejectedImage) as caught:
        decode(data, 32, **options)
    rejected = caught.value
    assert str(rejected) == f"{rejected.reason}: {rejected.detail}"
    assert 0 < len(rejected.detail) <= 300
    assert rejected.detail.isprintable()
    return rejected


# What is read


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("JPEG", {"quality": 95, "keep_rgb": True}),
        ("JPEG", {"quality": 95, "restart_marker_blocks": 2}),
        ("PNG", {}),
        ("WEBP", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
    ],
)
@pytest.mark.parametrize("reduced", [True, False])
def test_every_format_gives_upright_rgb(kind, options, reduced):
    photo = decode(encode(scene(), kind, **options), 32, reduced_decode=reduced)
    assert photo.pixels.shape == (32, 32, 3)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    assert (photo.width, photo.height) == (64, 48)
    assert_scene(photo, tolerance=6)


def test_mpo_of_a_phone_gives_its_first_picture():
    other = Image.new("RGB", (64, 48), (0, 0, 0))
    data = encode(scene(), "MPO", save_all=True, append_images=[other], quality=95)
    assert data.count(b"\xff\xd8\xff") == 2
    assert_scene(decode(data, 32), tolerance=6)


def test_video_behind_a_motion_photo_is_ignored():
    data = encode(scene(), "JPEG", quality=95) + b"\xff\xda\xff\xd8" * 10_000
    assert_scene(decode(data, 32), tolerance=6)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "ICO", "TGA", "PDF", "JPEG2000"])
def test_other_formats_are_unsupported(kind):
    assert rejection(encode(scene(), kind)).reason == "unsupported"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"just a note, renamed to photo.jpg", "just a note"),
        (b"<html><body>404 Not Found", "<html>"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\x00\x1b\n\r\xff\xfe" * 100, "JPEG, PNG, WebP or GIF"),
        (b"\xff", "JPEG"),
    ],
)
def test_no_photo_is_unsupported_and_says_what_to_do(data, word):
    rejected = rejection(data)
    assert rejected.reason == "unsupported"
    assert word in rejected.detail


def test_no_bytes_are_empty():
    assert rejection(b"").reason == "empty"


STORED = {  # upright pixels to what a camera that notes this orientation stores
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(("kind", "factor"), [("JPEG", 1), ("JPEG", 20), ("PNG", 1), ("WEBP", 1)])
def test_orientation_is_applied(kind, factor, orientation):
    upright = np.asarray(scene(64 * factor, 48 * factor))
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    data = encode(stored, kind, exif=exif(orientation), quality=95)
    for reduced in (True, False):
        photo = decode(data, 32, reduced_decode=reduced)
        assert (photo.width, photo.height) == (64 * factor, 48 * factor)
        assert_scene(photo, tolerance=6)


def test_turning_after_the_resize_equals_turning_before():
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (97, 61, 3), dtype=np.uint8)
    for orientation, store in STORED.items():
        stored = Image.fromarray(np.ascontiguousarray(store(noise)))
        turned = decode(encode(stored, "PNG", exif=exif(orientation)), 20).pixels.astype(int)
        upright = decode(encode(Image.fromarray(noise), "PNG"), 20).pixels
        assert np.abs(turned - upright).max() <= 1


def test_big_endian_exif_is_read():
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 3, 0)
    block = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    data = encode(scene().transpose(Image.Transpose.ROTATE_180), "JPEG", quality=95, exif=block)
    assert_scene(decode(data, 32), tolerance=6)


def palette_image(transparency):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 40, 60])
    return encode(image, "PNG", transparency=transparency)


COLOURS = {
    "grey JPEG": (encode(Image.new("L", (8, 8), 90), "JPEG"), (90, 90, 90)),
    "grey PNG": (encode(Image.new("L", (8, 8), 90), "PNG"), (90, 90, 90)),
    "black of 1 bit": (encode(Image.new("1", (8, 8), 0), "PNG"), (0, 0, 0)),
    "white of 1 bit": (encode(Image.new("1", (8, 8), 1), "PNG"), (255, 255, 255)),
    "grey of 2 bits": (png(4, 4, 2, 0, b"\xaa"), (170, 170, 170)),
    "palette": (palette_image(None), (200, 40, 60)),
    "palette, other entry transparent": (palette_image(0), (200, 40, 60)),
    "palette, this entry transparent": (palette_image(1), (255, 255, 255)),
    "palette with alpha": (palette_image(b"\0\x80"), (227, 147, 157)),
    "GIF, transparent": (
        encode(Image.new("P", (8, 8), 0), "GIF", transparency=0),
        (255, 255, 255),
    ),
    "LA": (encode(Image.new("LA", (8, 8), (0, 128)), "PNG"), (127, 127, 127)),
    "RGBA": (encode(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG"), (255, 127, 127)),
    "RGBA, opaque": (encode(Image.new("RGBA", (8, 8), (9, 99, 199, 255)), "PNG"), (9, 99, 199)),
    "RGBA, transparent black": (encode(Image.new("RGBA", (8, 8)), "PNG"), (255, 255, 255)),
    "RGBA WebP": (
        encode(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "WEBP", lossless=True),
        (255, 127, 127),
    ),
    "grey with key": (
        png(4, 4, 8, 0, b"\x10" * 4, chunk(b"tRNS", b"\0\x10")),
        (255, 255, 255),
    ),
    "RGB with key": (
        png(2, 2, 8, 2, b"\x01\x02\x03" * 2, chunk(b"tRNS", b"\0\x01\0\x02\0\x03")),
        (255, 255, 255),
    ),
    "RGB without its key": (
        png(2, 2, 8, 2, b"\x01\x02\x03" * 2, chunk(b"tRNS", b"\0\x01\0\x02\0\x04")),
        (1, 2, 3),
    ),
    "16-bit grey": (png(2, 2, 16, 0, b"\x80\x10" * 2), (128, 128, 128)),
    "16-bit grey, dark": (png(2, 2, 16, 0, b"\x02\xff" * 2), (2, 2, 2)),
    "16-bit grey, white": (png(2, 2, 16, 0, b"\xff\xff" * 2), (255, 255, 255)),
    "16-bit grey with key": (
        png(2, 2, 16, 0, b"\x80\x10" * 2, chunk(b"tRNS", b"\0\x01")),
        (128, 128, 128),
    ),
    "16-bit RGB": (png(2, 2, 16, 2, b"\x10\xff\x80\0\xff\xff" * 2), (16, 128, 255)),
    "16-bit LA": (png(2, 2, 16, 4, b"\0\0\x80\0" * 2), (127, 127, 127)),
    "16-bit RGBA": (png(2, 2, 16, 6, b"\xff\xff\0\0\0\0\x80\0" * 2), (255, 127, 127)),
    "CMYK JPEG": (
        encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95),
        (255, 0, 0),
    ),
    "CMYK JPEG, half black": (
        encode(Image.new("CMYK", (8, 8), (0, 0, 0, 128)), "JPEG", quality=95),
        (127, 127, 127),
    ),
}


@pytest.mark.parametrize(("data", "colour"), COLOURS.values(), ids=COLOURS)
def test_every_mode_gives_its_colour(data, colour):
    assert_colour(data, colour, tolerance=2)


def test_ycck_jpeg():
    # The same samples are colour and lightness once the Adobe segment says so (transform 2).
    data = encode(Image.new("CMYK", (8, 8), (55, 127, 127, 0)), "JPEG", quality=100)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    assert_colour(data, (200, 128, 128), tolerance=2)
    assert_colour(data[:at] + b"\2" + data[at + 1 :], (55, 55, 55), tolerance=2)


def test_hidden_colour_does_not_bleed_into_the_edge():
    pixels = np.zeros((64, 64, 4), np.uint8)  # transparent black ...
    pixels[:, ::2] = 255  # ... between opaque white: the page is white all over
    assert_colour(encode(Image.fromarray(pixels), "PNG"), (255, 255, 255), tolerance=0)


# Of several frames the first


def animation(kind, frames=40):
    later = [Image.new("RGB", (64, 48), (i, 0, 255 - i)) for i in range(1, frames)]
    return encode(scene(), kind, save_all=True, append_images=later, lossless=True)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind):
    assert_scene(decode(animation(kind), 32), tolerance=6)


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_later_frames_are_not_looked_at(kind):
    data = animation(kind, frames=3000 if kind == "GIF" else 200)
    second = data.index(b"\x21\xf9\x04" if kind == "GIF" else b"fcTL", len(data) // 3)
    junk = data[:second] + bytes(len(data) - second)
    if kind == "PNG":  # checksums and lengths hold, contents do not
        junk = with_chunk(data, chunk(b"acTL", b""), chunk(b"fcTL", b"junk"))
    assert_scene(decode(junk, 32), tolerance=6)


def test_small_gif_frame_on_a_large_transparent_screen():
    frame = Image.new("P", (8, 8), 1)
    frame.putpalette([255, 255, 0, 200, 40, 60])
    data = encode(frame, "GIF", transparency=0, disposal=2, optimize=False)
    assert b"\x21\xf9\x04\x09" in data
    photo = decode(data[:6] + struct.pack("<HH", 32, 16) + data[10:], 32)
    assert (photo.width, photo.height) == (32, 16)
    assert photo.pixels[2, 2].tolist() == [200, 40, 60]
    assert photo.pixels[-2, -2].tolist() == [255, 255, 255]


def test_gif_frame_beyond_its_screen_counts():
    data = encode(Image.new("L", (40, 30), 77), "GIF")
    photo = decode(data[:6] + struct.pack("<HH", 1, 1) + data[10:], 8)
    assert (photo.width, photo.height) == (40, 30)


# Bombs


def webp_canvas(width, height):
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_frame(kind):
    data = encode(scene(), "WEBP", lossless=kind == "VP8L")
    bits = 0x3FFF | 0x3FFF << 14
    at = data.index(b"\x9d\x01\x2a") + 3 if kind == "VP8 " else 21
    forged = struct.pack("<HH", 0x3FFF, 0x3FFF) if kind == "VP8 " else struct.pack("<I", bits)
    assert data[12:16] == kind.encode()
    return data[:at] + forged + data[at + 4 :]


def gif_bomb(screen, frame):
    descriptor = struct.pack("<BHHHHB", 0x2C, 0, 0, *frame, 0)
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0) + descriptor + b"\2\1\0\0;"


BOMBS = {
    "PNG": png(HUGE, HUGE, 8, 2, b""),
    "PNG, header only": png(HUGE, HUGE, 8, 2, b"")[:40],
    "PNG, second header": with_chunk(
        encode(scene(), "PNG"), chunk(b"IHDR", struct.pack(">IIBBBBB", HUGE, HUGE, 8, 2, 0, 0, 0))
    ),
    "PNG of 31 bits": png(2**31 - 1, 2**31 - 1, 1, 0, b""),
    "PNG, thin": png(1, 100_000_000, 1, 0, b"\0"),
    "PNG, flat": png(100_000_000, 1, 1, 0, b"\0"),
    "JPEG": with_jpeg_size(encode(scene(), "JPEG"), HUGE, HUGE),
    "JPEG, cut": with_jpeg_size(encode(scene(), "JPEG"), 65_500, 65_500)[:-20],
    "WebP canvas": webp_canvas(HUGE, HUGE),
    "WebP lossy": webp_frame("VP8 "),
    "WebP lossless": webp_frame("VP8L"),
    "GIF screen": gif_bomb((HUGE, HUGE), (1, 1)),
    "GIF frame": gif_bomb((1, 1), (HUGE, HUGE)),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_bomb_is_rejected_by_its_header(data, monkeypatch):
    def load(self):
        pytest.fail("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    rejected = rejection(data)
    assert rejected.reason == "too-large"
    assert "100,000,000" in rejected.detail


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_limit_is_on_pixels_and_inclusive(kind):
    data = encode(scene(), kind)
    assert decode(data, 8, max_pixels=64 * 48).width == 64
    assert rejection(data, max_pixels=64 * 48 - 1).reason == "too-large"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_hundred_megapixels_pass(kind):
    image = Image.new("1", (10_000, 10_000), 1)
    photo = decode(encode(image.convert("L") if kind == "JPEG" else image, kind), 100)
    assert (photo.width, photo.height) == (10_000, 10_000)
    assert photo.pixels.min() >= 254


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_pillows_own_limit_does_not_matter(kind, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert_scene(decode(encode(scene(), kind, quality=95), 32), tolerance=6)


def test_jpeg_of_a_thousand_scans_is_rejected():
    data = encode(Image.new("L", (64, 48), 90), "JPEG", progressive=True)
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    scan = data[starts[2] : starts[3]]
    bomb = data[: starts[3]] + scan * 1000 + data[starts[3] :]
    assert rejection(bomb).reason == "too-large"


ZEROS = zlib.compress(bytes(64 << 20), 9)  # 64 KB that inflate to 64 MB
TEXT = b"Comment\0"
ANCILLARY = {
    "iCCP": [chunk(b"iCCP", b"icc\0\0" + ZEROS)],
    "iCCP, other method": [chunk(b"iCCP", b"icc\0\x07" + ZEROS)],
    "zTXt": [chunk(b"zTXt", TEXT + b"\0" + ZEROS)] * 20,
    "iTXt": [chunk(b"iTXt", TEXT + b"\1\0en\0\0" + ZEROS)],
    "tEXt": [chunk(b"tEXt", TEXT + bytes(2 << 20))] * 40,
    "wrong checksum": [chunk(b"tEXt", TEXT)[:-1] + b"?"],
    "too short": [chunk(kind, b"\1") for kind in (b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"fdAT")],
    "wrong animation": [chunk(b"acTL", bytes(8))] * 2,
    "method of Pillow's": [
        chunk(b"text", b""),
        chunk(b"IPLT", b""),
        chunk(b"\xff\xff\xff\xff", b""),
    ],
    "broken EXIF": [chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")],
}


@pytest.mark.parametrize("chunks", ANCILLARY.values(), ids=ANCILLARY)
def test_hostile_chunks_beside_the_picture_do_not_matter(chunks):
    assert_scene(decode(with_chunk(encode(scene(), "PNG"), *chunks), 32))


LONG_DIRECTORY = b"II*\0" + struct.pack("<IH", 8, 65_535) + b"\x12\x01\xff\xff" * 16_000
BROKEN_EXIF = {
    "cut": b"II*",
    "offset beyond the end": b"II*\0\xff\xff\xff\xff",
    "directory of itself": b"II*\0" + struct.pack("<IH", 0, 9),
    "long directory": LONG_DIRECTORY,
    "no order": b"XX*\0" + bytes(60_000),
    "absurd orientation": exif(99)[6:],
    "zero denominators": b"MM\0*"
    + struct.pack(">IH", 8, 3)
    + struct.pack(">HHII", 0x011A, 5, 1, 50)
    + struct.pack(">HHIHH", 0x0128, 3, 1, 3, 0)
    + struct.pack(">HHII", 0x8769, 4, 1, 0xFFFFFFF0)
    + bytes(64),
    "orientation as text": b"II*\0" + struct.pack("<IHHHI4s", 8, 1, 0x0112, 2, 4, b"\6\0\0\0"),
}


@pytest.mark.parametrize("block", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_malformed_exif_does_not_reject_a_good_photo(kind, block):
    good = encode(scene(), kind, quality=95)
    if kind == "JPEG":
        broken = with_segment(good, 0xE1, b"Exif\0\0" + block)
    elif kind == "PNG":
        broken = with_chunk(good, chunk(b"eXIf", block))
    else:
        broken = encode(scene(), kind, quality=95, exif=block)
    assert np.array_equal(decode(broken, 32).pixels, decode(good, 32).pixels)


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE0, b"JFIF\0"),
        (0xE0, b""),
        (0xEE, b"Adobe"),
        (0xED, b"Photoshop 3.0\x008BIM"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<"),
        (0xFE, b"\0" * 65_000),
        (0xBF, b"reserved"),
    ],
)
def test_malformed_jpeg_segments_do_not_matter(marker, body):
    good = encode(scene(), "JPEG", quality=95)
    assert np.array_equal(
        decode(with_segment(good, marker, body), 32).pixels, decode(good, 32).pixels
    )


# Broken files


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_file_is_truncated(kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    rejected = rejection(data[: int(len(data) * share)])
    assert rejected.reason == "truncated"
    assert "upload" in rejected.detail


def test_flipped_bit_in_png_data_is_corrupt():
    data = bytearray(encode(scene(), "PNG"))
    data[data.index(b"IDAT") + 20] ^= 1
    rejected = rejection(bytes(data))
    assert rejected.reason == "corrupt"
    assert "IDAT" in rejected.detail


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF"])
def test_garbage_behind_a_magic_number_is_rejected(magic):
    body = b"\x30\0\0\0WEBPVP8 " if magic == b"RIFF" else b""
    garbage = np.random.default_rng(2).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    rejected = rejection(magic + body + garbage)
    assert rejected.reason in {"corrupt", "truncated", "too-large"}


def test_png_without_a_picture_is_corrupt():
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IEND", b"")
    assert rejection(data).reason == "corrupt"
    assert rejection(png(4, 4, 3, 5, b"")).reason == "corrupt"
    assert rejection(png(0, 4, 8, 2, b"")).reason == "corrupt"


def test_twelve_bit_jpeg_is_unsupported():
    data = encode(scene(), "JPEG")
    at = data.index(b"\xff\xc0") + 4
    assert rejection(data[:at] + b"\x0c" + data[at + 1 :]).reason == "unsupported"


PROFILE = b"profile" * 50
VALID = {
    "JPEG": encode(scene(), "JPEG", exif=exif(6), icc_profile=PROFILE, comment=b"hello"),
    "progressive JPEG": encode(scene(), "JPEG", progressive=True, quality=60),
    "CMYK JPEG": encode(scene(mode="CMYK"), "JPEG"),
    "PNG": encode(scene(mode="RGBA"), "PNG", exif=exif(3), icc_profile=PROFILE),
    "palette PNG": encode(scene(mode="P"), "PNG", transparency=b"\0\x40\x80"),
    "16-bit PNG": png(40, 30, 16, 0, bytes(range(80))),
    "APNG": animation("PNG", frames=3),
    "WebP": encode(scene(), "WEBP", exif=exif(8), icc_profile=PROFILE),
    "lossless WebP": encode(scene(mode="RGBA"), "WEBP", lossless=True),
    "animated WebP": animation("WEBP", frames=3),
    "GIF": animation("GIF", frames=3),
}


def decodes_or_is_rejected(data):
    """Anything else, and any warning (the settings make it an error), fails the test."""
    try:
        outcome = decode(data, 16, max_pixels=10_000_000)
    except RejectedImage as rejected:
        outcome = rejected
    if isinstance(outcome, RejectedImage):
        assert outcome.reason in {"empty", "unsupported", "corrupt", "truncated", "too-large"}
        assert len(outcome.detail) <= 300
        assert outcome.detail.isprintable()
    else:
        assert outcome.pixels.shape == (16, 16, 3)
        assert outcome.pixels.dtype == np.uint8
        assert outcome.width > 0 < outcome.height


@pytest.mark.parametrize("data", VALID.values(), ids=VALID)
@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_prefix_decodes_or_is_rejected(data, share):
    decodes_or_is_rejected(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", VALID.values(), ids=VALID)
@settings(max_examples=150, deadline=None)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1)
)
def test_any_flipped_bytes_decode_or_are_rejected(data, flips):
    broken = bytearray(data)
    for share, mask in flips:
        broken[int(len(data) * share)] ^= mask
    decodes_or_is_rejected(bytes(broken))


@pytest.mark.parametrize("kind", ["PNG", "palette PNG", "16-bit PNG"])
@settings(max_examples=100, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_flips_behind_a_right_checksum(kind, share, mask):
    """Forged checksums lead past the first line of defence."""
    data, at, parts = VALID[kind], 8, []
    while at < len(data):
        length = struct.unpack_from(">I", data, at)[0]
        body = bytearray(data[at + 8 : at + 8 + length])
        if body:
            body[int(length * share)] ^= mask
        parts.append(chunk(data[at + 4 : at + 8], bytes(body)))
        at += 12 + length
    decodes_or_is_rejected(data[:8] + b"".join(parts))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("image file is truncated (3 bytes not processed)"), "truncated"),
        (OSError("broken data stream"), "corrupt"),
        (SyntaxError("broken PNG file"), "corrupt"),
        (struct.error("unpack requires a buffer of 2 bytes"), "truncated"),
        (EOFError("no more"), "truncated"),
        (IndexError("index out of range"), "truncated"),
        (KeyError("mode"), "corrupt"),
        (OverflowError("size"), "corrupt"),
        (ZeroDivisionError(), "corrupt"),
        (AssertionError(), "corrupt"),
        (zlib.error("Error -3"), "corrupt"),
        (Image.DecompressionBombError("bomb"), "too-large"),
        (MemoryError(), "too-large"),
        (ValueError("line\nfeed \x1b[31m \u202e" + "x" * 999), "corrupt"),
    ],
)
def test_whatever_pillow_raises_becomes_a_rejection(error, reason, monkeypatch):
    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    rejected = rejection(encode(scene(), "JPEG"))
    assert rejected.reason == reason
    assert rejected.__cause__ is error


def test_rejection_survives_the_way_from_a_spark_worker():
    rejected = pickle.loads(pickle.dumps(RejectedImage("corrupt", "a\nb\0c")))
    assert isinstance(rejected, ValueError)
    assert (rejected.reason, rejected.detail) == ("corrupt", "a b c")


def test_photo_survives_the_way_from_a_spark_worker():
    photo = decode(encode(scene(), "PNG"), 8)
    copy = pickle.loads(pickle.dumps(photo))
    assert np.array_equal(copy.pixels, photo.pixels)
    assert (copy.width, copy.height) == (64, 48)


@pytest.mark.parametrize(("size", "max_pixels"), [(0, 1), (-1, 1), (8, 0)])
def test_impossible_arguments_are_no_rejection(size, max_pixels):
    with pytest.raises(ValueError, match="at least 1") as caught:
        decode(encode(scene(), "PNG"), size, max_pixels=max_pixels)
    assert not isinstance(caught.value, RejectedImage)


# Pixels for the network


@pytest.fixture(scope="module")
def twelve_megapixels():
    """Soft blobs, hard edges and grain, 4000 x 3000."""
    rng = np.random.default_rng(3)
    soft = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    image = soft.resize((4000, 3000), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for x, y, radius, *colour in rng.integers(0, (4000, 3000, 500, 256, 256, 256), (60, 6)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), tuple(map(int, colour)))
    grain = rng.integers(-8, 9, (3000, 4000, 1), dtype=np.int16)
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [100, 224])
def test_reduced_decode_is_close_to_full_decode(twelve_megapixels, size):
    data = encode(twelve_megapixels, "JPEG", quality=90)
    reduced, full = (decode(data, size, reduced_decode=choice) for choice in (True, False))
    plain = Image.open(io.BytesIO(data)).resize((size, size), Image.Resampling.BILINEAR)
    assert np.array_equal(full.pixels, np.asarray(plain))
    assert (reduced.width, reduced.height) == (full.width, full.height) == (4000, 3000)
    difference = np.abs(reduced.pixels.astype(int) - full.pixels)
    assert difference.mean() < 0.5
    assert difference.max() <= 8


def test_reduced_decode_lets_jpeg_decode_less_but_not_below_twice_the_size(monkeypatch):
    loaded = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(
        ImageFile.ImageFile, "load", lambda self: loaded.append(self.size) or load(self)
    )
    data = encode(Image.new("RGB", (1601, 1200)), "JPEG")
    decode(data, 100)
    assert set(loaded) == {(401, 300)}
    loaded.clear()
    decode(data, 100, reduced_decode=False)
    assert set(loaded) == {(1601, 1200)}


def test_small_photo_is_enlarged_and_thin_photo_squashed():
    assert (
        decode(encode(Image.new("RGB", (1, 1), RED), "PNG"), 5).pixels.tolist()
        == [[list(RED)] * 5] * 5
    )
    photo = decode(encode(Image.new("RGB", (3, 60_000), RED), "PNG"), 50)
    assert (photo.width, photo.height) == (3, 60_000)
    assert (photo.pixels == RED).all()


def test_vgg16_input_has_keras_values():
    pixels = np.array([[[[255, 128, 0], [0, 1, 2]]]], dtype=np.uint8)
    before = pixels.copy()
    result = vgg16_input(pixels)
    # keras.applications.vgg16.preprocess_input (Keras 3.15) of the same pixels
    expected = np.array(
        [[[[-103.939, 128 - 116.779, 255 - 123.68], [2 - 103.939, 1 - 116.779, -123.68]]]]
    )
    assert result.dtype == np.float32
    assert result.shape == pixels.shape
    assert result.flags.c_contiguous
    assert np.allclose(result, expected, rtol=0, atol=1e-5)
    assert np.array_equal(pixels, before)


def test_vgg16_input_is_float32_arithmetic_on_any_layout():
    pixels = np.random.default_rng(4).integers(0, 256, (3, 20, 10, 3), dtype=np.uint8)[:, ::2]
    pixels.setflags(write=False)
    # As keras.applications.imagenet_utils does it: reverse, then subtract a mean per channel.
    expected = pixels.astype(np.float32)[..., ::-1]
    for channel, mean in enumerate([103.939, 116.779, 123.68]):
        expected[..., channel] -= mean
    assert np.array_equal(vgg16_input(pixels), expected)
    assert vgg16_input(pixels).flags.c_contiguous
    assert vgg16_input(pixels[:0]).shape == (0, 10, 10, 3)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 8, 8, 3)),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 4), np.uint8),
        np.zeros((1, 3, 8, 8), np.uint8),
    ],
)
def test_vgg16_input_refuses_other_arrays(pixels):
    with pytest.raises(ValueError, match="uint8"):
        vgg16_input(pixels)


def test_both_ways_of_preprocessing_have_a_name():
    assert PREPROCESSING != PREPROCESSING_FULL
