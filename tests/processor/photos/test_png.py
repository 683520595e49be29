"""PNG files as they are parsed: what is kept of them, and what the end tells."""

import pytest

from processor.errors import RejectedImage
from processor.photos import png
from tests.support.pictures import chunk, encode, scene

WHOLE = encode(scene(), "PNG")
END = chunk(b"IEND", b"")


def test_only_the_chunks_that_make_the_picture_are_kept() -> None:
    text = chunk(b"tEXt", b"Comment\0hello")
    photo = png.parse(WHOLE.removesuffix(END) + text + END, 10**6)
    assert photo.stream == WHOLE
    assert photo.ended
    assert not png.parse(WHOLE.removesuffix(END), 10**6).ended


def test_exif_is_handed_out() -> None:
    block = b"MM\0*\0\0\0\x08\0\0"
    photo = png.parse(WHOLE.removesuffix(END) + chunk(b"eXIf", block) + END, 10**6)
    assert (photo.exif, photo.stream) == (block, WHOLE)


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT"])
def test_a_wrong_checksum_is_named(kind: bytes) -> None:
    at = WHOLE.index(kind) + 4
    broken = WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :]
    with pytest.raises(RejectedImage, match=rf"checksum of b'{kind.decode()}'"):
        png.parse(broken, 10**6)


def test_the_size_is_limited() -> None:
    with pytest.raises(RejectedImage, match="too-large"):
        png.parse(WHOLE, 10)
