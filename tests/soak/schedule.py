"""The schedule: which kill comes next, round by round, each round shuffled by the seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle

from tests.soak.boundaries import BOUNDARIES, RECEIVED
from tests.soak.kills import EXPIRED, KILLS

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class Order:
    """A kill to come: at a boundary, or where that is None at any instant."""

    number: int
    kind: str
    boundary: str | None = None
    moment: str = (
        ""  # BEFORE: the request has no effect; AFTER: it has, and the response is on its way
    )

    @property
    def place(self) -> str:
        return f"{self.boundary}, {self.moment}" if self.boundary else "random"


def orders(seed: int) -> Iterator[Order]:
    """Endless. A round has each kind at a random instant, and each boundary, before and after."""
    chosen = random.Random(seed)
    numbers = count()
    kinds = list(KILLS)
    chosen.shuffle(kinds)
    at_boundaries = cycle(kinds)
    while True:
        places: list[tuple[str | None, str]] = [
            (boundary, moment)
            for boundary in BOUNDARIES
            for moment in (BEFORE, AFTER)
            if (boundary, moment) != (RECEIVED, BEFORE)  # messages are known by the response
        ]
        chosen.shuffle(places)
        some = [(next(at_boundaries), *place) for place in places]
        some += [(kind, None, "") for kind in (*KILLS, EXPIRED)]
        chosen.shuffle(some)
        for each in some:
            yield Order(next(numbers), *each)
