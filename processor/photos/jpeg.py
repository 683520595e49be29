"""JPEG streams, parsed before Pillow sees them: the parts that make the first picture.

Profiles, text and further pictures are dropped, so that none of them can inflate, cause a warning or
spoil a photo. Whatever lies behind the picture (a video, a trailer, nothing at all) is not read.
"""

import re
import struct
from dataclasses import dataclass
from typing import NamedTuple

from processor.errors import RejectedImage

END = 0xD9  # the marker "end of image"

_MAX_SCANS = 100  # encoders write about ten; 150 bytes of a scan cost a pass over the whole picture
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")  # neither fill nor part of a scan
# What ends a scan's data for libjpeg; restart markers if there is no interval.
_STOP = re.compile(rb"\xff[^\x00\xff]")
_BETWEEN_SCANS = {0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
_ZEROS = bytes(64)


class Component(NamedTuple):
    """A channel as its frame declares it: its number and its samples across and down in each MCU."""

    number: int
    across: int
    down: int


class Frame(NamedTuple):
    """The frame header: the process (0 and 1 sequential, 2 progressive, others rare), the size."""

    process: int
    bits: int
    height: int
    width: int
    components: tuple[Component, ...]
    segment: bytes  # the header itself, with its marker

    def mcus(self, numbers: bytes) -> tuple[int, int]:
        """How many units a scan of these components codes, and how many blocks each of them has."""
        across = max([each.across for each in self.components])
        down = max([each.down for each in self.components])
        wide, high, blocks = self.width, self.height, 1
        if len(numbers) > 1:
            blocks = sum([x * y for number, x, y in self.components if number in numbers])
            across, down = 8 * across, 8 * down
        else:
            ((x, y),) = [(x, y) for number, x, y in self.components if number in numbers]
            wide, high = -(-wide * x // across), -(-high * y // down)
            across = down = 8
        return -(-wide // across) * -(-high // down), blocks


class Scan(NamedTuple):
    """One scan. `data` holds no marker but restarts, all there and in order."""

    head: bytes  # the segments before the data, of the first scan with the start of the image
    data: memoryview
    sound: int  # bytes of the data before a run of zeros that no encoder can have written
    following: int | None  # the marker behind the data; None if the file ends


@dataclass(frozen=True, slots=True, eq=False)
class Jpeg:
    """The first picture of a file. All of its coefficients are in `scans`, if these are complete.

    `checkable` is false for the rare processes (arithmetic, lossless), whose only "scan" holds the
    rest of the file, unread.
    """

    frame: Frame
    scans: tuple[Scan, ...]
    exif: bytes
    checkable: bool

    @property
    def buffered(self) -> bool:
        """Whether libjpeg holds all coefficients, 2 bytes each, before it gives a row of pixels.

        Reduced decoding saves nothing of them.
        """
        return self.frame.process > 1 or len(self.scans) > 1


def parse(data: bytes) -> Jpeg:
    """The first picture's frame, tables and scans (ITU T.81, annex B), and its EXIF block or b"".

    Raises RejectedImage, or EOFError, IndexError, ValueError or struct.error on a broken file.
    """
    return _Parser(data).parse()


class _Parser:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._view = memoryview(data)
        self._at = 2
        self._exif = b""
        self._interval = 0  # MCUs between restart markers
        self._frame: Frame | None = None
        self._huffman: list[bytes] = []
        self._missing: dict[int, bytearray] = {}  # by component: the bits that coefficients lack

    def parse(self) -> Jpeg:
        scans: list[Scan] = []
        while not scans or any(map(any, self._missing.values())):
            if scans:
                self._check_following(scans[-1].following)
            if len(scans) == _MAX_SCANS:
                detail = f"has more than {_MAX_SCANS} scans; save the photo again"
                raise RejectedImage("too-large", detail)
            head, start = self._head(b"" if scans else b"\xff\xd8")
            if self._frame is None:
                raise RejectedImage("corrupt", "a scan before its frame; replace the file")
            if self._frame.process > 2:
                rest = self._view[self._at :]
                scan = Scan(head, rest, len(rest), END)
                return Jpeg(self._frame, (scan,), self._exif, checkable=False)
            scans.append(self._scan(self._frame, head, start))
        assert self._frame is not None  # noqa: S101
        return Jpeg(self._frame, tuple(scans), self._exif, checkable=True)

    def _check_following(self, marker: int | None) -> None:
        if marker is None:
            raise EOFError("inside a scan")
        if marker == END:
            detail = "ends before the last of its scans; upload it again"
            raise RejectedImage("truncated", detail)
        if marker not in _BETWEEN_SCANS:
            raise stray(marker)

    def _head(self, begin: bytes) -> tuple[bytes, bytes]:
        """The segments up to the data of the next scan, and the body of the last of them."""
        data, kept = self._data, [begin]
        while found := _MARKER.search(data, self._at):
            start, marker = found.start(), found[1][0]
            if marker == END:
                raise EOFError("before a scan")
            (length,) = struct.unpack_from(">H", data, start + 2)
            self._at = start + 2 + length
            if self._at > len(data):
                raise EOFError("inside a segment")
            segment = data[start : self._at]
            if 0xC0 <= marker <= 0xDF:
                kept.append(segment)
                if marker == 0xDA:
                    return b"".join(kept), segment[4:]
                self._note(marker, segment)
            # JFIF and Adobe segments say how colours are coded; libjpeg ignores shorter ones.
            elif (marker == 0xE0 and segment.startswith(b"JFIF\0", 4) and length >= 16) or (
                marker == 0xEE and segment.startswith(b"Adobe", 4) and length >= 14
            ):
                kept.append(segment)
            elif marker == 0xE1 and segment.startswith(b"Exif\0\0", 4) and not self._exif:
                self._exif = segment[4:]
        raise EOFError("before a scan")

    def _note(self, marker: int, segment: bytes) -> None:
        if marker == 0xC4:
            self._huffman.append(segment)
        elif marker == 0xDD:
            (self._interval,) = struct.unpack_from(">H", segment, 4)
        elif marker <= 0xCF and marker not in (0xC8, 0xCC):
            bits, height, width, count = struct.unpack_from(">BHHB", segment, 4)
            parts = struct.iter_unpack("BBB", segment[10 : 10 + 3 * count])
            components = tuple([Component(number, by >> 4, by & 15) for number, by, _ in parts])
            self._frame = Frame(marker - 0xC0, bits, height, width, components, segment)
            self._missing = {each.number: bytearray(b"\xff" * 64) for each in components}

    def _scan(self, frame: Frame, head: bytes, start: bytes) -> Scan:
        count = start[0]
        numbers, tables = start[1 : 1 + 2 * count : 2], start[2 : 2 + 2 * count : 2]
        sequential = frame.process < 2
        first, last, approximation = start[1 + 2 * count : 4 + 2 * count]
        if sequential:
            first, last, approximation = 0, 63, 0  # whatever the file says, as libjpeg does
        left = bytes((approximation & 15,)) * (last + 1 - first)
        for number in numbers:
            self._missing[number][first : last + 1] = left
        mcus, blocks = frame.mcus(numbers) if sequential or self._interval else (0, 0)
        restarts = -(-mcus // self._interval) - 1 if self._interval else 0
        begin = self._at
        end, following = self._end_of_data(restarts)
        # A block has two codes of a bit or more.
        if sequential and mcus * blocks > 4 * (end - begin + 8):
            cause = f"has {end - begin:,} bytes for {mcus * blocks:,} blocks of pixels"
            raise RejectedImage("truncated", f"{cause}; upload it again")
        sound = end
        if last:  # neighbours of one brightness make a run of zeros in a scan of DC alone
            zeros = self._data.find(_ZEROS, begin, end)
            if zeros >= 0 and any(self._zero_codes(tables)):
                sound = zeros
        return Scan(head, self._view[begin:end], sound - begin, following)

    def _end_of_data(self, restarts: int) -> tuple[int, int | None]:
        """Where a scan's data ends, and the marker behind it."""
        data, begin = self._data, self._at
        if self._interval:
            end, following = self._intervals(restarts)
        else:
            stop = _STOP.search(data, begin)
            end, following = (stop.start(), stop[0][1]) if stop else (len(data), None)
        self._at = end
        if end > begin and data[end - 1] == 0xFF:  # fill before the marker
            end = begin + len(data[begin:end].rstrip(b"\xff"))
        return end, following

    def _intervals(self, restarts: int) -> tuple[int, int | None]:
        """The same, of data with so many restart markers. Raises RejectedImage if some are missing."""
        data, end, seen, following = self._data, len(self._data), 0, None
        for stop in _STOP.finditer(data, self._at):
            marker = data[stop.end() - 1]
            if marker & 0xF8 != 0xD0:
                end, following = min(end, stop.start()), marker
                break
            if seen == restarts:  # some encoders close the last interval too
                end = min(end, stop.start())
            elif marker & 7 != seen & 7:
                raise RejectedImage("corrupt", "data of its scan was lost; replace the file")
            else:
                seen += 1
        if seen == restarts:
            return end, following
        if following in (END, None):
            cause = f"has {seen:,} of {restarts:,} restart markers"
            raise RejectedImage("truncated", f"{cause}; upload it again")
        raise stray(following)

    def _zero_codes(self, tables: bytes) -> list[int]:
        """What zero bits mean in each of a scan's AC tables: 0 for the end of a block, or of many."""
        meaning: dict[int, int] = {}
        for segment in self._huffman:
            at = 4
            while at + 17 < len(segment):
                symbol = segment[at + 17]  # of the first code, which is all zeros
                meaning[segment[at]] = symbol if symbol & 15 or symbol == 0xF0 else 0
                at += 17 + sum(segment[at + 1 : at + 17])
        return [meaning.get(0x10 | each & 15, 0) for each in tables]


def stray(marker: int) -> RejectedImage:
    """The rejection of a scan that a marker interrupts."""
    return RejectedImage("corrupt", f"a marker FF{marker:02X} inside a scan; replace the file")
