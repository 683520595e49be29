"""Contents: the distinct photos that the writer puts, good ones and poison, by digest."""

import hashlib
from dataclasses import dataclass
from functools import cache

from tests.support.drawn_photos import photo

GOOD = 60
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a photo, or of what cannot be one."""

    name: str
    data: bytes
    good: bool


@cache
def contents() -> tuple[Content, ...]:
    """All of them."""
    good = [
        Content(f"{KINDS[n % 5]} {n}", photo(n, KINDS[n % 5], (40 + n % 7, 30)), good=True)
        for n in range(GOOD)
    ]
    cut = [
        Content(f"half of {each.name}", each.data[: len(each.data) // 2], good=False)
        for each in good[:2]
    ]
    poison = [
        Content("nothing", b"", good=False),
        Content("text", b"This is not an image.\n" * 9, good=False),
        Content("zeros", bytes(500), good=False),
    ]
    return (*good, *cut, *poison)


@cache
def by_digest() -> dict[str, Content]:
    return {digest(each.data): each for each in contents()}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
