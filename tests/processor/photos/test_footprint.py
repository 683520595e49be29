"""Footprints: what decoding really takes, measured in a process of its own, stays below them."""

import json
import os
import random
import struct
import subprocess
import sys
import zlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from processor.photos.decode import decode
from processor.photos.footprint import Footprint
from tests.support.pictures import chunk, encode

ROOT = Path(__file__).resolve().parents[3]
SIDES = (2400, 1600)
PIXELS = SIDES[0] * SIDES[1]


def grain(mode: str) -> Image.Image:
    width, height = SIDES
    bands = len(Image.new(mode, (1, 1)).getbands())
    coarse = np.random.default_rng(1).integers(0, 256, (height // 8, width // 8, bands), np.uint8)
    fine = coarse.repeat(8, 0).repeat(8, 1)
    return Image.frombytes(mode, SIDES, fine.tobytes())


def drawing(depth: int, colour: int, *before: bytes, after: bytes = b"") -> bytes:
    """A black PNG with chunks before and after its pixels."""
    width, height = SIDES
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * depth * channels + 7) // 8)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(row * height, 1))
    parts = [chunk(b"IHDR", head), *before, pixels, after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def planes() -> bytes:
    """A baseline JPEG whose colours come in a scan each: all are kept until the last has come."""
    data = encode(Image.new("RGB", SIDES, (50, 100, 150)), "JPEG", subsampling=0)
    head = data[: data.index(b"\xff\xda")]
    grey = encode(Image.new("L", SIDES, 100), "JPEG")  # coded by the same tables
    scan = grey[grey.index(b"\xff\xda") + 10 : -2]
    heads = [struct.pack(">BBHBBB3B", 255, 0xDA, 8, 1, n, 0, 0, 63, 0) for n in (1, 2, 3)]
    return head + b"".join(each + scan for each in heads) + data[-2:]


def swarm(side: int, sets: int) -> bytes:
    """A lossless WebP, white but for its Huffman tables: `sets` times five, of one symbol each."""
    bits: list[str] = []

    def put(*fields: tuple[int, int]) -> None:
        bits.extend(f"{value:0{count}b}"[::-1] for value, count in fields)

    one = [(1, 1), (0, 1), (0, 1), (0, 1)]
    lengths = [(0, 1), (8, 4), *[(0, 3)] * 11, (1, 3), (1, 1), (3, 3), (254, 8)]  # 256 codes of 8
    put((0x2F, 8), (side - 1, 14), (side - 1, 14), (0, 4), (0, 1), (0, 1), (1, 1), (0, 3), (0, 1))
    put(*lengths, *lengths, *one * 3)
    bits += (f"{n % sets % 256:08b}{n % sets // 256:08b}" for n in range((side // 4) ** 2))
    put(*one * 5 * sets, (0, 128))
    packed = np.packbits(np.array(list("".join(bits)), np.uint8), bitorder="little").tobytes()
    body = b"WEBPVP8L" + struct.pack("<I", len(packed)) + packed + bytes(len(packed) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


PALETTE = chunk(b"PLTE", bytes(range(256)) * 3)
KEY, GREY_KEY = chunk(b"tRNS", b"\0\x10" * 3), chunk(b"tRNS", b"\0\x10")
PHOTOS = {
    "JPEG": lambda: encode(grain("RGB"), "JPEG"),
    "JPEG, CMYK": lambda: encode(grain("CMYK"), "JPEG"),
    "JPEG, a scan a colour": planes,
    "JPEG, progressive": lambda: encode(grain("RGB"), "JPEG", progressive=True),
    "JPEG, progressive, CMYK": lambda: encode(grain("CMYK"), "JPEG", progressive=True),
    "PNG, 1 bit": lambda: drawing(1, 0),
    "PNG, grey": lambda: drawing(8, 0),
    "PNG, 16-bit grey": lambda: drawing(16, 0),
    "PNG, grey with key": lambda: drawing(8, 0, GREY_KEY),
    "PNG, RGB": lambda: drawing(8, 2),
    "PNG, RGB with key": lambda: drawing(8, 2, KEY),
    "PNG, RGB with late key": lambda: drawing(8, 2, after=KEY),
    "PNG, palette": lambda: drawing(8, 3, PALETTE),
    "PNG, palette with alpha": lambda: drawing(8, 3, PALETTE, KEY),
    "PNG, grey with alpha": lambda: drawing(8, 4),
    "PNG, 16-bit RGBA": lambda: drawing(16, 6),
    "WebP": lambda: encode(grain("RGB"), "WEBP", method=0),
    "WebP, alpha": lambda: encode(grain("RGBA"), "WEBP", method=0),
    "WebP, lossless": lambda: encode(grain("RGBA"), "WEBP", lossless=True, method=0, quality=0),
    "GIF": lambda: encode(grain("L"), "GIF"),
    "BMP": lambda: encode(grain("RGB"), "BMP"),
    "BMP, alpha": lambda: encode(grain("RGBA"), "BMP"),
    "GIF, transparent": lambda: encode(grain("RGB").quantize(64), "GIF", transparency=0),
}

# Or a photo would be measured in what the one before it left.
FRUGAL = "glibc.malloc.mmap_threshold=65536:glibc.malloc.trim_threshold=65536"
MEASURED = """
import contextlib, json, pathlib, sys
from processor.errors import RejectedImage
from processor.photos.decode import decode

def status(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

def reserve(footprint):
    found.update(needed=footprint.needed, worst=footprint.worst)
    return contextlib.nullcontext()

for path in sys.argv[1:]:
    data, found = pathlib.Path(path).read_bytes(), {}
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    try:
        decode(data, 224, reserve=reserve)
    except RejectedImage as rejected:
        found["reason"] = rejected.reason
    print(json.dumps({**found, "peak": status("VmHWM") - before}), flush=True)
"""


def measured(folder: Path, *photos: bytes) -> list[dict]:
    """The footprint of each photo, and the peak of decoding it; the first is not counted."""
    files = []
    for n, data in enumerate((encode(Image.new("RGB", (9, 9)), "WEBP"), *photos)):
        files.append(folder / str(n))
        files[-1].write_bytes(data)
    command = [sys.executable, "-c", MEASURED, *map(str, files)]
    environment = {**os.environ, "GLIBC_TUNABLES": FRUGAL}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()[1:]]


def test_decoding_takes_no_more_than_the_footprint_and_little_less(tmp_path: Path) -> None:
    found = measured(tmp_path, *(draw() for draw in PHOTOS.values()))
    for name, each in zip(PHOTOS, found, strict=True):
        assert each["peak"] <= each["needed"], name
        assert each["needed"] <= 1.1 * each["peak"] + (11 << 20), name


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_avif_takes_no_more_than_its_footprint(tmp_path: Path, mode: str, subsampling: str) -> None:
    data = encode(grain(mode), "AVIF", speed=10, quality=60, subsampling=subsampling)
    (found,) = measured(tmp_path, data)
    assert found["needed"] / 3 < found["peak"] <= found["needed"]


def test_a_webp_that_is_made_to_harm_takes_no_more_than_its_worst(tmp_path: Path) -> None:
    (each,) = measured(tmp_path, swarm(512, 16_384))
    assert each["needed"] < each["peak"] <= each["worst"]


def footprint(data: bytes, size: int = 224, **options: bool) -> Footprint:
    found: list[Footprint] = []

    def reserve(each: Footprint) -> nullcontext:
        found.append(each)
        return nullcontext()

    decode(data, size, reserve=reserve, **options)
    (only,) = found
    return only


def test_ordinary_photos_are_small() -> None:
    photo = Image.new("RGB", (4000, 3000))
    assert footprint(encode(photo, "JPEG")).worst < 16 << 20
    assert footprint(encode(photo.resize((1200, 900)), "PNG")).worst < 16 << 20


def test_a_jpeg_decoded_in_full_takes_more() -> None:
    data = encode(Image.new("RGB", (4000, 3000)), "JPEG")
    assert footprint(data, reduced_decode=False).needed > 48_000_000


def test_files_that_libwebp_writes_are_never_suspected_of_much_for_few_bytes() -> None:
    data = encode(Image.new("RGB", (3000, 3000), (9, 99, 199)), "WEBP", lossless=True)
    found = footprint(data)
    assert len(data) < 2000
    assert found.worst - found.needed < 5_000_000


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_any_size_has_a_footprint(kind: str) -> None:
    rng = random.Random(3)
    for _ in range(20):
        sides = rng.randint(1, 900), rng.randint(1, 900)
        found = footprint(encode(Image.new("RGB", sides), kind), rng.choice([1, 32, 500]))
        assert 0 < found.needed <= found.worst
