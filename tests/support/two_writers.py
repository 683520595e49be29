"""Two writers and a bucket that changes, in every interleaving of their steps.

``python -m tests.support.two_writers --help`` explores more of them than the tests do.

The state of the whole is a value (see :mod:`.writer_program`), and a state that was reached before is
not followed again. So the cost is that of the states that differ, however many interleavings lead there.
"""

import argparse
import gc
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from unittest.mock import patch

from processor.pipeline import feature_store, micro_batch
from tests.support.fake_tables import Access, Commit, Shared, Touched, access
from tests.support.writer_program import TABLES, Batch, Content, Event, Program, Read

NOTHING, A, B, BAD = Content(None), Content("A"), Content("B"), Content("X", good=False)


class Writer(NamedTuple):
    """A writer within a micro-batch: its place in the program, where its table versions count from."""

    place: int
    bases: tuple[int, ...]


class State(NamedTuple):
    """All of it, except what nobody can tell: which writer is which, versions long past, …"""

    bucket: tuple[tuple[str, Content], ...]
    changes: int = 0  # that are still to come
    duplicates: int = 0
    crashes: int = 0
    events: tuple[tuple[Event, int, bool], ...] = ()  # delivered so often, whether that is owed
    tables: tuple[Shared, ...] = (Shared(), Shared())
    writers: tuple[Writer | None, ...] = (None, None)
    latest: Event | None = None  # if the last step was a change in S3


@dataclass
class Checker:
    """Explores all that can follow a state. Raises AssertionError with the steps that lead to a fault.

    ``bare``: events as some implementations of S3 send them, with neither ETag nor order.
    """

    bare: bool = False
    contents: tuple[Content, ...] = (NOTHING, A, B, BAD)

    def __post_init__(self) -> None:
        self._program = Program(self.bare)
        self._steps: list[tuple[object, ...]] = []
        self.interleavings: dict[State, int] = {}  # by the state from which they go on

    def run(self, state: State) -> int:
        """The number of interleavings from here, those not counted that nobody can tell apart."""
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(10_000)
        logging.disable(logging.CRITICAL)
        gc.disable()  # it would look through all states again and again
        try:
            with (
                patch.object(feature_store, "ThreadPoolExecutor", _OneByOne),
                patch.object(micro_batch, "patiently", lambda call: call()),  # nothing fails
            ):
                return self._explore(state)
        finally:
            gc.enable()
            logging.disable(logging.NOTSET)
            sys.setrecursionlimit(before)

    def _explore(self, state: State) -> int:
        if state not in self.interleavings:
            self._check(state)
            total = 0
            for step, following in self._following(state):
                self._steps.append(step)
                total += self._explore(following)
                self._steps.pop()
            self.interleavings[state] = total or 1
        return self.interleavings[state]

    def _check(self, state: State) -> None:
        """If everything is handled, the tables are the bucket."""
        if any(state.writers) or any(owed for _, _, owed in state.events):
            return
        features, rejects = (
            {key: dict(row)["version"] for key, row, _ in table.rows} for table in state.tables
        )
        for key, (version, good) in state.bucket:
            row, reject = features.get(key), rejects.get(key)
            if (row, version and reject) != ((version, None) if good else (None, version)):
                steps = "\n".join(" ".join(map(str, step)) for step in self._steps)
                there = f"{'good' if good else 'bad'} {version}" if version else "nothing"
                raise AssertionError(f"{there} in S3, row {row}, reject {reject}, after\n{steps}")

    def _following(self, state: State) -> Iterator[tuple[tuple[object, ...], State]]:
        if state.changes:
            for key, before in state.bucket:
                for content in self.contents:
                    if content != before:
                        yield ("S3", key, content.version), self._changed(state, key, content)
        if None in state.writers:  # the others that are idle would do the same
            for batch in self._batches(state):
                yield ("begins", *batch), self._delivered(state, batch)
        for name, writer in enumerate(state.writers):
            if writer:
                batch, request = (
                    all_of[writer.place]
                    for all_of in (self._program.batches, self._program.requests)
                )
                # A change in S3 and a later access to a table might as well come the other way round.
                if not state.latest or request == Read(state.latest.key):
                    yield (*batch, request), self._advanced(state, name)
                if state.crashes and not state.latest:
                    yield (*batch, "dies"), self._crashed(state, name)

    def _changed(self, state: State, key: str, content: Content) -> State:
        known = [event for event, _, _ in state.events]
        for writer in filter(None, state.writers):
            known += [event for event, _ in self._program.batches[writer.place]]
        event = Event(1 + max((each.number for each in known), default=-1), key, content)
        return state._replace(
            bucket=tuple((name, content if name == key else was) for name, was in state.bucket),
            changes=state.changes - 1,
            events=(*state.events, (event, 0, True)),
            latest=event,
        )

    def _batches(self, state: State) -> Iterator[Batch]:
        """Each event that is owed, two of them, and each that was delivered before."""
        owed = [(event, times) for event, times, owed in state.events if owed]
        batches: list[Batch] = [(each,) for each in owed]
        batches += [
            (one, two) for one in owed for two in owed if one < two or (self.bare and one > two)
        ]
        if state.duplicates:
            batches += [((event, times),) for event, times, owed in state.events if not owed]
        for batch in batches:
            if state.latest in (None, *(event for event, _ in batch)):
                yield batch

    def _delivered(self, state: State, batch: Batch) -> State:
        events = [
            (event, times + 1, False) if (event, times) in batch else (event, times, owed)
            for event, times, owed in state.events
        ]
        again = sum((event, times, False) in state.events for event, times in batch)
        bases = tuple(table.version for table in state.tables)
        writers = (*filter(None, state.writers), Writer(self._program.start(batch), bases))
        state = state._replace(
            events=tuple(events),
            duplicates=state.duplicates - again,
            writers=(*writers, None)[:2],
        )
        return self._advanced(state, len(writers) - 1)

    def _crashed(self, state: State, name: int) -> State:
        """What it has committed stays; its events are owed again."""
        writer = state.writers[name]
        assert writer
        events = {event: (event, times, owed) for event, times, owed in state.events}
        for event, times in self._program.batches[writer.place]:
            events[event] = (event, times + 1, True)
        listed = tuple(events[event] for event in sorted(events))
        return self._ended(state._replace(events=listed, crashes=state.crashes - 1), name)

    def _advanced(self, state: State, name: int) -> State:
        """After a request of a writer, and after what it does next that no one else can influence."""
        writer = state.writers[name]
        assert writer
        place, tables = writer.place, [*state.tables]
        while True:
            request = self._program.requests[place]
            if isinstance(request, Read):
                answer: object = dict(state.bucket)[request.key]
            else:
                assert request
                at = TABLES.index(request.table)
                answer, tables[at] = _shifted(tables[at], request, writer.bases[at])
            place = self._program.after(place, answer)
            if not isinstance(self._program.requests[place], Touched):  # the log's past is fixed
                break
        writers = tuple(
            Writer(place, each.bases) if each and number == name else each
            for number, each in enumerate(state.writers)
        )
        state = state._replace(tables=tuple(tables), writers=writers, latest=None)
        if self._program.requests[place] is None:
            return self._ended(state, name)
        return state._replace(writers=_sorted(writers))

    def _ended(self, state: State, name: int) -> State:
        """Without a writer, and without what nobody can tell any more: versions, paths, events."""
        busy = [each for number, each in enumerate(state.writers) if each and number != name]
        batches = {self._program.batches[each.place] for each in busy}
        tables = []
        bases = []
        for at, table in enumerate(state.tables):
            base = min((each.bases[at] for each in busy), default=table.version)
            first = table.version - len(table.named)
            rows = frozenset(
                (key, row, path if path and path[0] in batches else None)
                for key, row, path in table.rows
            )
            tables.append(Shared(table.version - base, table.named[base - first :], rows))
            bases.append(base)
        writers: list[Writer | None] = [
            Writer(each.place, tuple(n - base for n, base in zip(each.bases, bases, strict=True)))
            for each in busy
        ]
        events = tuple(each for each in state.events if each[2] or state.duplicates)
        writers += [None] * (len(state.writers) - len(writers))
        return state._replace(events=events, tables=tuple(tables), writers=tuple(writers))


def _shifted(table: Shared, request: Access, base: int) -> tuple[object, Shared]:
    """Answer a request whose versions count from ``base``."""
    if isinstance(request, Commit):
        return access(table, request._replace(planned_on=request.planned_on + base))
    if isinstance(request, Touched):
        moved = request._replace(since=request.since + base, until=request.until + base)
        return access(table, moved)
    (version, rows), table = access(table, request)
    return (version - base, rows), table


def _sorted(writers: tuple[Writer | None, ...]) -> tuple[Writer | None, ...]:
    """Writers are alike, so it does not matter which of them is where."""
    return tuple(sorted(writers, key=lambda each: each or Writer(1 << 60, ())))


class _OneByOne:
    """In place of ThreadPoolExecutor, whose threads would ask in an order of their own."""

    def __init__(self, _: int) -> None:
        self.map = map

    def __enter__(self) -> "_OneByOne":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("changes", 3), ("duplicates", 0), ("crashes", 0), ("keys", 1)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    parser.add_argument("--bare", action="store_true", help="events without ETag and order")
    options = parser.parse_args()
    checker, began = Checker(options.bare), time.process_time()
    bucket = tuple((f"photos/{n}", NOTHING) for n in range(options.keys))
    count = checker.run(State(bucket, options.changes, options.duplicates, options.crashes))
    seconds = time.process_time() - began
    print(f"{count:,} interleavings, {len(checker.interleavings):,} states, {seconds:.0f} s")


if __name__ == "__main__":
    main()
