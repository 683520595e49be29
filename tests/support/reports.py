"""A report under test: a small page, where its photos come from, and a photo that kills its decoder."""

import os
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from processor.photos.memory import MemoryBudget
from processor.report.draw import Photo
from processor.report.points import Points
from processor.report.summary import Summary
from processor.report.thumbnails import Source


def page(summary: Summary, points: Points) -> str:
    pictures = sum(map(bool, points.thumbnails))
    return f"{summary.photos} photos, {len(points.keys)} points, {pictures} pictures"


def memory() -> MemoryBudget:
    return MemoryBudget(1 << 30, Path(tempfile.gettempdir(), "fruits-report-memory"))


def source(bucket: str) -> Source:
    return Source(bucket, 1_000_000, 1_000_000, unsandboxed_heic=False, memory=memory)


@dataclass(frozen=True, slots=True)
class Deadly(Source):
    """Where the decoder of each photo whose key contains "deadly" takes its process with it."""

    def thumbnail(self, photo: Photo, memory: MemoryBudget) -> bytes | None:
        if "deadly" in photo[0]:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super(Deadly, self).thumbnail(photo, memory)
