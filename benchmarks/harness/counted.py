"""Counts of requests to AWS: by who made them, operation and place, as the bill tells them apart."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self, cast

Key = tuple[str, str, str, str]  # client, service, operation, place

# What S3 charges for an operation; what is missing is free (DELETE, aborting an upload).
S3_CLASSES = {
    "GET": "GET",
    "HEAD": "GET",
    "LIST": "PUT",
    "PUT": "PUT",
    "POST": "PUT",
    "COPY": "PUT",
}


@dataclass(frozen=True, slots=True)
class Count:
    """Of one kind of request: how many, what SQS bills for them, and the bytes of log events."""

    requests: int = 0
    billed: int = 0  # SQS: one for each started 64 KiB of a request or its answer
    empty: int = 0  # receives that brought nothing
    bytes: int = 0  # of log events, as CloudWatch Logs bills them; of answers and bodies elsewhere

    def plus(self, other: Self) -> "Count":
        return Count(
            self.requests + other.requests,
            self.billed + other.billed,
            self.empty + other.empty,
            self.bytes + other.bytes,
        )

    def minus(self, other: Self) -> "Count":
        return Count(
            self.requests - other.requests,
            self.billed - other.billed,
            self.empty - other.empty,
            self.bytes - other.bytes,
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts by :data:`Key`; the difference of two readings is what happened in between."""

    by_key: Mapping[Key, Count]

    @classmethod
    def parse(cls, text: str) -> "Counts":
        """What :meth:`dump` wrote."""
        rows = cast(list[tuple[list[str], list[int]]], json.loads(text))
        return cls({cast(Key, tuple(key)): Count(*numbers) for key, numbers in rows})

    def dump(self) -> str:
        return json.dumps(
            [
                [list(key), [each.requests, each.billed, each.empty, each.bytes]]
                for key, each in self.by_key.items()
            ]
        )

    def since(self, before: "Counts") -> "Counts":
        """What came after ``before``."""
        changed = {
            key: each.minus(before.by_key.get(key, Count())) for key, each in self.by_key.items()
        }
        return Counts({key: each for key, each in changed.items() if each.requests})

    def of(self, service: str, *operations: str, places: Iterable[str] = ()) -> Count:
        """The sum over all clients; without ``operations`` or ``places``, over all of them."""
        wanted, within = set(operations), set(places)
        total = Count()
        for (_, each_service, operation, place), count in self.by_key.items():
            if each_service != service or (wanted and operation not in wanted):
                continue
            if not within or place in within:
                total = total.plus(count)
        return total

    def s3_classes(self, *, photos: bool | None = None) -> dict[str, int]:
        """S3's requests as it charges them: ``PUT`` (PUT, POST, LIST, COPY), ``GET`` and ``free``.

        ``photos``: only those about photos, only the others, or all.
        """
        classes: Counter[str] = Counter({"GET": 0, "PUT": 0, "free": 0})
        for (_, service, operation, place), count in self.by_key.items():
            if service == "s3" and photos in (None, place == "photos"):
                classes[S3_CLASSES.get(operation, "free")] += count.requests
        return dict(classes)

    def lines(self) -> list[str]:
        """A table for a person to read."""
        rows = sorted(self.by_key.items(), key=lambda row: (row[0][1], row[0][3], row[0][2]))
        return [
            f"  {service:<10} {operation:<28} {place:<22} {client:<14} {count.requests:>7}"
            + (f"  ({count.empty} empty)" if count.empty else "")
            for (client, service, operation, place), count in rows
        ]
