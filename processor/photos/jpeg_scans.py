"""JPEG pixels: Pillow's decoder, fed in pieces that show whether each scan was complete.

libjpeg fills what is missing with grey and skips what is left over; it counts warnings, but Pillow
keeps them to itself. Its decoder waits for input, however, and says how much it took. Fed no marker
behind a scan's data but a few harmless bytes, it asks for more if data is missing; and it asks for
nothing if it was done before the last bytes. Pixels of intact photos stay what they are.
"""

import io
from typing import Any

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from processor.errors import RejectedImage
from processor.photos.jpeg import END, Jpeg, Scan, stray

_NAME = "jpeg-scans"
_PAD = bytes(8)  # libjpeg looks ahead that far, so a loss of up to as much is not noticed
_SLACK = 16  # bytes that may be left over; of 1,142 photos, none has one


def open_jpeg(photo: Jpeg) -> JpegImageFile:
    """The image, not decoded yet. Its `load` raises RejectedImage for an incomplete scan."""
    # Pillow itself needs the size and the channels only; it would read the tables for a while.
    image = JpegImageFile(io.BytesIO(b"\xff\xd8" + photo.frame.segment + b"\xff\xda\0\2"))
    (tile,) = image.tile
    args = tile.args if isinstance(tile.args, tuple) else ()
    image.tile = [tile._replace(codec_name=_NAME, args=(*args, photo))]
    return image


class _ScanDecoder(ImageFile.PyDecoder):
    _pulls_fd = True  # `decode` is called once

    def init(self, args: tuple[Any, ...]) -> None:
        rawmode, colours, self._photo, *reduction = args
        plain = (rawmode, colours)
        self._decoder = Image._getdecoder(self.mode, "jpeg", plain, tuple(reduction))
        self._rest = b""
        self._done = False

    def setimage(self, im: Any, extents: tuple[int, int, int, int] | None = None) -> None:
        self._decoder.setimage(im, extents)

    def cleanup(self) -> None:
        self._decoder.cleanup()

    def decode(self, buffer: "Image.DecoderInput") -> tuple[int, int]:
        photo: Jpeg = self._photo
        for scan in photo.scans:
            self._rest += scan.head
            if photo.checkable:
                self._read(scan)
            else:
                self._feed(scan.data)
        if photo.buffered:
            self._feed(b"\xff\xd9")
        if not self._done:
            raise EOFError("inside the picture")
        return -1, 0

    def _read(self, scan: Scan) -> None:
        """Feed one scan's data. Raises RejectedImage unless it is complete and nothing is left."""
        data, sound = scan.data, scan.sound
        brim = max(0, sound - _SLACK)
        if brim > 1 << 16:
            self._feed(b"")  # the segments before it, so that as much is not copied to join them
        self._feed(data[:brim])
        # Without an end marker, "left over" is a trailer; so it is if the marker found is a video's.
        closed = scan.following == END or scan is not self._photo.scans[-1]
        if self._complete(data[brim : brim + 1]) and brim and closed and b"ftyp" not in bytes(data):
            raise _corrupt("data is left over behind its last pixel")
        self._feed(bytes(data[brim + 1 : sound]) + _PAD)
        complete = self._complete(b"\0")
        if sound < len(data):
            behind = bytes(data[sound:]).strip(b"\0")
            if not complete and not behind:
                raise _truncated()
            if not complete or (behind and closed):
                raise _corrupt("zeros were written over its data")
        elif not complete:
            raise _truncated() if scan.following in (END, None) else stray(scan.following)

    def _complete(self, probe: bytes | memoryview) -> bool:
        """Whether the scan's last block was decoded. Feeds the probe, a byte.

        If more scans may follow, libjpeg then looks for a marker and takes every byte as it comes.
        Inside a scan, it takes no byte before it has eight.
        """
        if self._rest or not self._photo.buffered:
            self._rest += bytes(probe)
        else:
            self._feed(probe)
        return self._done or (self._photo.buffered and not self._rest)

    def _feed(self, piece: bytes | memoryview) -> None:
        if self._done:  # and its memory is gone
            return
        fed = b"".join((self._rest, piece)) if self._rest else piece
        taken, error = self._decoder.decode(fed)
        if error:
            raise OSError("broken data stream")
        self._done = taken < 0
        self._rest = b"" if self._done else bytes(fed[taken:])


def _truncated() -> RejectedImage:
    return RejectedImage("truncated", "data of its scan is missing; upload it again")


def _corrupt(cause: str) -> RejectedImage:
    return RejectedImage("corrupt", f"{cause}; replace the file")


Image.register_decoder(_NAME, _ScanDecoder)
