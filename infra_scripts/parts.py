"""A part of the stack: one setting that can be read, compared with what is wanted, and written."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

Action = Literal["create", "update", "replace", "delete", "unchanged"]
DONE: "dict[Action, str]" = {
    "create": "created",
    "update": "updated",
    "replace": "replaced",
    "delete": "deleted",
    "unchanged": "unchanged",
}
LONGEST = 300  # characters of a value in a line
State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Change:
    """What deploy would do, or did, about one part, or about one resource of the stack."""

    part: str
    action: Action
    before: object  # None: the part does not exist
    after: object
    note: str = ""  # see Part.note

    def describe(self, *, done: bool = False) -> str:
        """One line; for an update one more for each member that differs; and the note."""
        lines = [f"{DONE[self.action] if done else self.action:<9} {self.part}"]
        if self.action in ("update", "replace"):
            lines += [
                f"          {name}: {_short(old)} -> {_short(new)}"
                for name, old, new in _differences(self.before, self.after)
            ]
        if self.note:
            lines.append(f"          {self.note}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Part(Generic[State]):
    """One setting, and the three functions that handle it; all three may be called repeatedly.

    ``read()`` returns None where the setting does not exist. ``want(before)`` returns what should
    be there: it keeps everything that is not ours, and returns ``before`` itself where nothing has
    to change. ``write(before, after)`` makes it so, and returns what it wrote if that is less than
    ``after``. ``note(after)`` is a line for the operator where something stays other than we would have
    it, by somebody's choice or for want of a feature: what it is, why it matters, how to change it; else
    it is empty.
    """

    name: str
    read: Callable[[], State | None]
    want: Callable[[State | None], State | None]
    write: Callable[[State | None, State], State | None]
    note: Callable[[State | None], str] = lambda after: ""

    def compare(self) -> Change:
        """What :meth:`write` would have to do; changes nothing."""
        before = self.read()
        after = self.want(before)
        action: Action = "create" if before is None else "update"
        if before == after:
            action = "unchanged"
        return Change(self.name, action, before, after, self.note(after))


AnyPart = Part[Any]  # in a list of parts, each has a State of its own


def _differences(before: object, after: object) -> list[tuple[str, object, object]]:
    """The members that differ, each with its path, old and new value."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            (f"{name}.{below}" if below else name, old, new)
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
            for below, old, new in _differences(before.get(name), after.get(name))
        ]
    return [("", before, after)]


def _short(value: object) -> str:
    text = "none" if value is None else json.dumps(value, default=str, sort_keys=True)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
