"""What a worker and its HEIC decoder say to each other: fixed binary layouts, nothing to unpickle."""

import struct
from dataclasses import astuple, dataclass
from typing import ClassVar

# One of the kinds below, bands, width, height; pixels or a text follow.
ANSWER = struct.Struct("<BBII")
PIXELS, FAILED, NO_MEMORY = 1, 2, 3
ENDED = struct.Struct("<i")  # last on a channel: exit status, or minus the signal, or TIMED_OUT
TIMED_OUT = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """One photo to decode; comes with the channel on which the photo follows."""

    length: int  # bytes of the photo
    side: int  # pixels on each side of the answer
    gap: float  # Pillow's reducing_gap; 0: none
    memory_bytes: int  # address space on top of what the process has
    cpu_seconds: int
    wall_seconds: int
    locked: bool  # within seccomp

    LAYOUT: ClassVar = struct.Struct("<QIdQII?")
    SIZE: ClassVar = LAYOUT.size

    def pack(self) -> bytes:
        return self.LAYOUT.pack(*astuple(self))

    @classmethod
    def unpack(cls, message: bytes) -> "Request":
        return cls(*cls.LAYOUT.unpack(message))
