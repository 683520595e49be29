"""PNG pixels: Pillow leaves the rows black that it finds no data for, and says nothing."""

import io
from typing import Any

from PIL.PngImagePlugin import PngImageFile

from processor.photos import png
from processor.photos.png import Png


class CompletePng(PngImageFile):
    """The image, not decoded yet. Its `load` raises as :func:`.png.check_rows` if rows are missing.

    Counting them takes a third of the time of decoding, so that is done only where the last row could be
    one that was never written.
    """

    def __init__(self, photo: Png) -> None:
        self._unchecked: Png | None = photo
        super().__init__(io.BytesIO(photo.stream))

    def load(self) -> Any:
        photo, self._unchecked = self._unchecked, None
        if photo is None:
            return super().load()
        try:
            pixels = super().load()
        except Exception:
            png.check_rows(photo)  # knows better what is wrong
            raise
        width, height = self.size
        last_row = self.crop((0, height - 1, width, height)).tobytes()
        if "interlace" in self.info or not any(last_row):
            png.check_rows(photo)
        return pixels
