"""HEIF files (HEIC, AVIF), parsed before a decoder sees them: codec, size, and whether all is there.

A file is a tree of boxes (ISO/IEC 14496-12). The box `meta` lists items, says which of them is the photo
and where its bytes lie (ISO/IEC 23008-12). Whatever else the file holds (a video, bursts, thumbnails,
EXIF) is ignored: EXIF's orientation too, because the properties irot and imir rule.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from processor.errors import RejectedImage
from processor.photos import bitstreams, containers

HEVC, AV1 = b"hvc1", b"av01"

_BRANDS = re.compile(rb"....ftyp(hei|hev|mif|msf|avi|mia|MA1|unif)", re.DOTALL)
_DERIVED = (b"grid", b"iden", b"iovl")  # made of the items that they refer to
# Beyond what photos have, so that no file takes more than seconds to parse.
_MAX_BOXES = 20_000  # in a row
_MAX_TABLE = 1_000_000  # bytes of a list of items; that of 100 megapixels in tiles takes 10,000
_MAX_PARTS = 4_000  # items that are pictures, pieces of items

_LOST = bytes(1000)  # what an interrupted copy may end in; no encoder pads that far

_Span = tuple[int, int]  # where contents begin and end in the file


@dataclass(frozen=True, slots=True)
class Still:
    """The photo that a file declares as its primary item, before rotation and cropping."""

    codec: bytes  # HEVC or AV1
    width: int
    height: int
    pixels: int  # of the largest picture that a decoder meets: the photo, a tile, an AV1 frame


@dataclass(slots=True)
class _Item:
    kind: bytes
    size: tuple[int, int] = (0, 0)
    length_size: int = 4  # of HEVC
    sources: tuple[int, ...] = ()
    extents: list[_Span] = field(default_factory=list)


def is_heif(data: bytes) -> bool:
    """Whether the file names a brand of still pictures first; an MP4 video does not."""
    return _BRANDS.match(data) is not None


def as_still(data: bytes) -> bytes:
    """The file without the brand of an animation, whose frames a decoder would read instead."""
    return data[:8] + b"avif" + data[12:]


def parse(data: bytes, max_pixels: int) -> Still:
    """The primary item's codec and declared size, in bounded time.

    Raises RejectedImage (`too-large`, `unsupported`, `corrupt`), or EOFError, IndexError or struct.error
    if the file ends before the photo does.
    """
    boxes = dict(_boxes(data, (0, len(data)), last=b"meta"))
    if b"meta" not in boxes:
        if b"moov" in boxes:
            detail = "it is a video or an animation without a still picture; save a picture of it"
            raise RejectedImage("unsupported", detail)
        raise EOFError("before the list of its pictures")
    try:
        items, primary = _read(data, boxes[b"meta"])
        return _still(data, items, primary, max_pixels)
    except KeyError as error:
        detail = f"lacks {error} in the description of its photo; replace the file"
        raise RejectedImage("corrupt", detail) from error


def _still(data: bytes, items: dict[int, _Item], primary: int, max_pixels: int) -> Still:
    photo = items[primary]
    containers.check_size(*photo.size, max_pixels)
    parts = [items[each] for each in _reachable(items, primary)]
    coded = [each for each in parts if each.kind not in _DERIVED]
    codecs = {each.kind for each in coded}
    if codecs not in ({HEVC}, {AV1}):
        names = b", ".join(sorted(codecs)).decode("latin-1")
        detail = f"its photo is coded as {names}; save it as HEIC with HEVC, AVIF, JPEG or PNG"
        raise RejectedImage("unsupported", detail)
    if any(end > len(data) for each in coded for _, end in each.extents):
        raise EOFError("inside the photo")
    if not all(each.extents for each in coded):
        raise KeyError("iloc")
    (codec,) = codecs
    sizes = [each.size for each in parts]
    if codec == AV1:
        for item in items.values():  # all, because alpha is decoded too
            if item.kind == AV1:
                sizes += bitstreams.av1_sizes(_stream(data, item))
    for size in sizes:
        containers.check_size(*size, max_pixels)
    for each in coded:
        stream = _stream(data, each)
        if stream.endswith(_LOST) or (
            codec == HEVC and not bitstreams.is_whole_hevc(stream, each.length_size)
        ):
            raise RejectedImage("truncated", "zeros in place of a part of it; upload it again")
    return Still(codec, *photo.size, max(width * height for width, height in sizes))


def _stream(data: bytes, item: _Item) -> bytes:
    return b"".join(data[start:end] for start, end in item.extents)


def _reachable(items: dict[int, _Item], primary: int) -> set[int]:
    """The item, what it is derived from, and so on."""
    found, waiting = {primary}, [primary]
    while waiting:
        item = items[waiting.pop()]
        if item.kind in _DERIVED:
            new = set(item.sources) - found
            found |= new
            waiting += new
    return found


def _boxes(data: bytes, span: _Span, last: bytes = b"") -> Iterator[tuple[bytes, _Span]]:
    """The boxes in a span, up to one named `last`."""
    at, end = span
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        start = at + 8
        size, name = struct.unpack_from(">I4s", data, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        at = at + size if size else end
        if start > at:
            raise RejectedImage("corrupt", f"has a broken box {name!r}; replace the file")
        if at > end and name != b"mdat":  # what lies in it is checked item by item
            raise EOFError(f"inside a box {name!r}")
        yield name, (start, at)
        if name == last:
            return
    raise _endless()


def _endless() -> RejectedImage:
    return RejectedImage("corrupt", "has an endless list of pictures; save the photo again")


class _Table:
    """A full box, read from its beginning: version, flags, and then numbers."""

    def __init__(self, data: bytes, span: _Span) -> None:
        start, end = span
        if end - start > _MAX_TABLE:
            raise _endless()
        self._data, self._at = data[start:end], 0
        self.version, self.flags = self.number(1), self.number(3)

    def number(self, length: int) -> int:
        return int.from_bytes(self.text(length), "big")

    def text(self, length: int) -> bytes:
        self._at += length
        if self._at > len(self._data):
            raise EOFError("inside a list of items")
        return self._data[self._at - length : self._at]


def _read(data: bytes, meta: _Span) -> tuple[dict[int, _Item], int]:
    """All items by id, and the primary item's id. KeyError for a missing box or item."""
    boxes = dict(_boxes(data, (meta[0] + 4, meta[1])))  # behind version and flags
    pitm = _Table(data, boxes[b"pitm"])
    items = dict(_types(data, boxes[b"iinf"]))
    _read_sizes(data, boxes[b"iprp"], items)
    if b"iref" in boxes:
        _read_sources(data, boxes[b"iref"], items)
    _read_extents(_Table(data, boxes[b"iloc"]), boxes.get(b"idat", (0, 0)), len(data), items)
    return items, pitm.number(4 if pitm.version else 2)


def _types(data: bytes, iinf: _Span) -> Iterator[tuple[int, _Item]]:
    start = iinf[0] + (8 if data[iinf[0]] else 6)
    for _, span in _boxes(data, (start, iinf[1])):
        entry = _Table(data, span)
        item = entry.number(2 if entry.version < 3 else 4)
        entry.number(2)  # protection
        yield item, _Item(entry.text(4) if entry.version >= 2 else b"none")


def _read_sizes(data: bytes, iprp: _Span, items: dict[int, _Item]) -> None:
    properties = list(_boxes(data, iprp))
    kinds = list(_boxes(data, dict(properties)[b"ipco"]))
    tables = [span for name, span in properties if name == b"ipma"]
    for span in tables[:4]:  # one of each version and width, at most
        table = _Table(data, span)
        for _ in range(table.number(4)):
            item = items.get(table.number(4 if table.version else 2))
            for _ in range(table.number(1)):
                index = table.number(2) & 0x7FFF if table.flags & 1 else table.number(1) & 0x7F
                if not item or not 0 < index <= len(kinds):
                    continue
                kind, (start, _) = kinds[index - 1]
                if kind == b"ispe":
                    item.size = struct.unpack_from(">II", data, start + 4)
                elif kind == b"hvcC":
                    item.length_size = (data[start + 21] & 3) + 1


def _read_sources(data: bytes, iref: _Span, items: dict[int, _Item]) -> None:
    _Table(data, iref)  # not endless
    width = 4 if data[iref[0]] else 2
    for name, (start, end) in _boxes(data, (iref[0] + 4, iref[1])):
        if name == b"dimg":
            table = _Table(data, (start - 4, end))  # has neither version nor flags
            item = items.get(table.number(width))
            sources = tuple(table.number(width) for _ in range(table.number(2)))
            if item:
                item.sources = sources


def _read_extents(iloc: _Table, idat: _Span, length: int, items: dict[int, _Item]) -> None:
    pieces = total = 0
    sizes = iloc.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> at & 15 for at in (12, 8, 4, 0))
    for _ in range(iloc.number(4 if iloc.version == 2 else 2)):
        item = items.get(iloc.number(4 if iloc.version == 2 else 2))
        method = iloc.number(2) & 15 if iloc.version else 0
        iloc.number(2)  # of this file
        base = iloc.number(base_size) + (idat[0] if method == 1 else 0)
        for _ in range(iloc.number(2)):
            if iloc.version:
                iloc.number(index_size)
            start, size = base + iloc.number(offset_size), iloc.number(length_size)
            end = start + size if size else (idat[1] if method == 1 else length)
            pieces, total = pieces + 1, total + max(0, min(end, length) - start)
            if pieces > _MAX_PARTS or total > 4 * length:
                raise _endless()
            if item and method < 2:
                item.extents.append((start, end))
