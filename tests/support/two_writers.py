"""Two writers and a bucket that changes, in every interleaving of their steps.

A writer is the real :class:`MicroBatches` with the real :class:`FeatureStore`, on tables in memory. What
it does next depends only on the events it got and on the answers to what it asked so far. So a step of
it is: run it from the start, answer from memory what it asked before, note what it asks next, and leave
it there. With that, the state of the whole is a value, and states that were reached before need not be
followed again: all interleavings are explored, and counted, at the cost of the states that differ.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from common.layout import BucketLayout
from ingest.events import ObjectEvent
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from tests.support.fake_tables import Access, FakeTable, Shared, Touched, access
from tests.support.world import NOON

BUCKET = "bucket"
TABLES = ("features", "rejects")


@dataclass(frozen=True, slots=True, order=True)
class Content:
    """What lies under a key; ``version`` is empty if nothing does."""

    version: str = ""
    good: bool = True


NOTHING, A, B, BAD = Content(), Content("A"), Content("B"), Content("X", good=False)


@dataclass(frozen=True, slots=True, order=True)
class Event:
    number: int
    key: str
    content: Content


@dataclass(frozen=True, slots=True)
class Read:
    """A request to S3 for what is under a key."""

    key: str


Delivery = tuple[Event, int]  # the how manieth of that event
Batch = tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Busy:
    """A writer within a micro-batch: what it was answered; versions count from its ``bases``."""

    batch: Batch
    answers: tuple[object, ...]
    bases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class State:
    bucket: tuple[tuple[str, Content], ...]
    changes: int  # that are still to come
    duplicates: int
    crashes: int
    events: tuple[tuple[Event, int, bool], ...] = ()  # deliveries so far, whether another is owed
    tables: tuple[Shared, ...] = (Shared(), Shared())
    writers: tuple[Busy | None, ...] = (None, None)


class _Asks(BaseException):
    """Leaves a writer at a request that is not yet answered."""


@functools.cache
def request_of(batch: Batch, answers: tuple[object, ...], bare: bool) -> Access | Read | None:
    """What a writer asks next after those ``answers``; None if it has finished."""
    left = iter(answers)
    paths = iter(range(1000))

    def ask(request: Access | Read) -> Any:
        for answer in left:
            return answer
        raise _Asks(request)

    features, rejects = (FakeTable(name, ask, lambda: (batch, next(paths))) for name in TABLES)

    def extract(works: Sequence[Work]) -> list[Extracted]:
        outcomes = tuple(_outcome(work, ask) for work in works)
        stored = [each for each in outcomes if each.kind is Kind.STORED]
        rows = [{"key": each.key, "version": each.object_version} for each in stored]
        return [Extracted(features.write(rows).file if rows else None, outcomes)]

    def current_version(_: str, key: str) -> str | None:
        return ask(Read(key)).version or None

    def send(body: str, delay: int) -> None:
        raise AssertionError(f"a message is sent: {body}, {delay}")

    store = FeatureStore(features, rejects)
    service = MicroBatches(store, BucketLayout(BUCKET), extract, send, current_version)
    try:
        service.handle([_object_event(event, bare) for event, _ in batch], 1)
    except _Asks as asks:
        return asks.args[0]
    return None


def _object_event(event: Event, bare: bool) -> ObjectEvent:
    there = bool(event.content.version)
    return ObjectEvent(
        BUCKET,
        event.key,
        None,
        event.content.version if there and not bare else None,
        1 if there else None,
        "ObjectCreated:Put" if there else "ObjectRemoved:Delete",
        NOON,
        None if bare else f"{event.number + 1:04X}",
    )


def _outcome(work: Work, ask: Callable[[Read], Content]) -> Outcome:
    """As tasks._prepare finds it."""
    if work.stored_version is not None and ask(Read(work.key)).version == work.stored_version:
        return Outcome(work.key, Kind.UNCHANGED, work.stored_version)
    found = ask(Read(work.key))
    if not found.version:
        if work.removal or work.stored_version:
            return Outcome(work.key, Kind.GONE)
        return Outcome(work.key, Kind.REJECTED, work.event_version or "", "vanished")
    if not found.good:
        return Outcome(work.key, Kind.REJECTED, found.version, "corrupt")
    return Outcome(work.key, Kind.STORED, found.version)


@dataclass
class Checker:
    """Explores everything that can follow a state; raises AssertionError with the steps to a fault."""

    bare: bool = False  # events as some implementations of S3 send them: no ETag, no order
    contents: tuple[Content, ...] = (NOTHING, A, B, BAD)
    steps: list[str] = field(default_factory=list)
    interleavings: dict[State, int] = field(default_factory=dict)  # from a state to the end

    def explore(self, state: State) -> int:
        """The number of interleavings from here."""
        if state not in self.interleavings:
            self._check(state)
            total = 0
            for step, following in self._steps(state):
                self.steps.append(step)
                total += self.explore(following)
                self.steps.pop()
            self.interleavings[state] = total or 1
        return self.interleavings[state]

    def _check(self, state: State) -> None:
        """If everything is handled, the tables are the bucket."""
        if any(state.writers) or any(owed for _, _, owed in state.events):
            return
        features, rejects = (
            {key: dict(row)["version"] for key, row, _ in table.rows} for table in state.tables
        )
        for key, content in state.bucket:
            good, bad = (
                content.version if content.version and content.good is kind else None
                for kind in (True, False)
            )
            found = (features.get(key), rejects.get(key))
            expected = (good, bad if content.version else found[1])
            if found != expected:
                steps = "\n".join(self.steps)
                raise AssertionError(f"{key}: (row, reject) is {found}, not {expected}\n{steps}")

    def _steps(self, state: State) -> Iterator[tuple[str, State]]:
        if state.changes:
            for key, before in state.bucket:
                for content in self.contents:
                    if content != before:
                        yield (
                            f"S3: {key} = {content.version or None}",
                            _changed(state, key, content),
                        )
        batches = list(_batches(state))
        idle = [n for n, writer in enumerate(state.writers) if writer is None]
        for name in idle[:1]:  # idle writers are alike
            for batch in batches:
                yield f"{_name(batch)}: begins", self._advance(_delivered(state, name, batch), name)
        for name, writer in enumerate(state.writers):
            if writer:
                request = request_of(writer.batch, writer.answers, self.bare)
                yield f"{_name(writer.batch)}: {_short(request)}", self._advance(state, name)
                if state.crashes:
                    yield f"{_name(writer.batch)}: dies", _normal(_crashed(state, name))

    def _advance(self, state: State, name: int) -> State:
        """One request of a writer, and all that follow which no other writer can influence."""
        while True:
            writer = state.writers[name]
            assert writer
            request = request_of(writer.batch, writer.answers, self.bare)
            if request is None:
                return _normal(_with_writer(state, name, None))
            answer, state = _answer(state, request, writer.bases)
            state = _with_writer(state, name, replace(writer, answers=(*writer.answers, answer)))
            following = request_of(writer.batch, (*writer.answers, answer), self.bare)
            if following is not None and not isinstance(following, Touched):
                return _normal(state)


def _answer(state: State, request: Access | Read, bases: tuple[int, ...]) -> tuple[object, State]:
    if isinstance(request, Read):
        return dict(state.bucket)[request.key], state
    at = TABLES.index(request.table)
    absolute = request
    for name in {"planned_on", "since", "until"} & set(type(request).__dataclass_fields__):
        absolute = replace(absolute, **{name: getattr(request, name) + bases[at]})
    answer, table = access(state.tables[at], absolute)
    if isinstance(answer, tuple):
        answer = (answer[0] - bases[at], answer[1])
    tables = (*state.tables[:at], table, *state.tables[at + 1 :])
    return answer, replace(state, tables=tables)


def _changed(state: State, key: str, content: Content) -> State:
    number = 1 + max((event.number for event, _, _ in state.events), default=-1)
    for writer in filter(None, state.writers):
        number = max(number, 1 + max(event.number for event, _ in writer.batch))
    return replace(
        state,
        bucket=tuple((name, content if name == key else was) for name, was in state.bucket),
        changes=state.changes - 1,
        events=(*state.events, (Event(number, key, content), 0, True)),
    )


def _batches(state: State) -> Iterator[Batch]:
    """One event, or two that are owed, in any order; or one that was delivered before."""
    owed = [(event, times) for event, times, owed in state.events if owed]
    yield from ((each,) for each in owed)
    yield from ((one, other) for one in owed for other in owed if one != other)
    if state.duplicates:
        yield from (((event, times),) for event, times, owed in state.events if not owed)


def _delivered(state: State, name: int, batch: Batch) -> State:
    duplicates = state.duplicates
    events = []
    for event, times, owed in state.events:
        if (event, times) in batch:
            duplicates -= not owed
            events.append((event, times + 1, False))
        else:
            events.append((event, times, owed))
    bases = tuple(table.version for table in state.tables)
    state = replace(state, events=tuple(events), duplicates=duplicates)
    return _with_writer(state, name, Busy(batch, (), bases))


def _crashed(state: State, name: int) -> State:
    """What it wrote stays; its events are owed again."""
    writer = state.writers[name]
    assert writer
    again = {event: times + 1 for event, times in writer.batch}
    events = {event: (times, owed) for event, times, owed in state.events}
    events |= {event: (times, True) for event, times in again.items()}
    listed = tuple((event, *events[event]) for event in sorted(events))
    state = replace(state, events=listed, crashes=state.crashes - 1)
    return _with_writer(state, name, None)


def _with_writer(state: State, name: int, writer: Busy | None) -> State:
    writers = [*state.writers]
    writers[name] = writer
    return replace(state, writers=tuple(writers))


def _normal(state: State) -> State:
    """The same state without what nobody can tell any more: versions, paths, delivered events."""
    busy = [writer for writer in state.writers if writer]
    batches = {writer.batch for writer in busy}
    tables, bases = [], []
    for at, table in enumerate(state.tables):
        base = min((writer.bases[at] for writer in busy), default=table.version)
        rows = frozenset(
            (key, row, path if path and path[0] in batches else None)
            for key, row, path in table.rows
        )
        named = table.named[base - table.first :]
        tables.append(Shared(table.version - base, 0, named, rows))
        bases.append(base)
    writers = [
        writer
        and replace(
            writer, bases=tuple(n - base for n, base in zip(writer.bases, bases, strict=True))
        )
        for writer in state.writers
    ]
    events = tuple(each for each in state.events if each[2] or state.duplicates)
    writers.sort(key=lambda writer: (writer is None, hash(writer)))
    return replace(state, events=events, tables=tuple(tables), writers=tuple(writers))


def _name(batch: Batch) -> str:
    return "+".join(f"{event.key}{event.number}.{times}" for event, times in batch)


def _short(request: object) -> str:
    return str(request).replace("frozenset()", "-")
