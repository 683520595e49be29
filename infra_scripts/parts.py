"""A part of the stack: one setting that can be read, compared with what is wanted, and written."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Action = Literal["create", "update", "unchanged"]


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done, or was done, about one part."""

    part: str
    action: Action
    before: Any  # None: it is not there
    after: Any

    def describe(self, *, done: bool = False) -> str:
        """One line, and for an update one more for each member that differs."""
        action = f"{self.action}d" if done and self.action != "unchanged" else self.action
        lines = [f"{action:<9} {self.part}"]
        if self.action == "update":
            lines += [
                f"          {name}: {_short(old)} -> {_short(new)}"
                for name, old, new in _differences(self.before, self.after)
            ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Part:
    """``read`` gives None for what is not there; it may be called any number of times.

    ``want`` gives what should be there for what is: it keeps all that is not ours, and gives the
    same value back when nothing is amiss. ``write(before, after)`` may be repeated.
    """

    name: str
    read: Callable[[], Any]
    want: Callable[[Any], Any]
    write: Callable[[Any, Any], None]

    def compare(self) -> Change:
        """What :meth:`write` would have to do."""
        before = self.read()
        after = self.want(before)
        action: Action = "create" if before is None else "update"
        if before == after:
            action = "unchanged"
        return Change(self.name, action, before, after)


def _differences(before: Any, after: Any) -> list[tuple[str, Any, Any]]:
    """The members that differ, each with its path, old and new value."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            (f"{name}.{below}" if below else name, old, new)
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
            for below, old, new in _differences(before.get(name), after.get(name))
        ]
    return [("", before, after)]


def _short(value: Any) -> str:
    return "none" if value is None else json.dumps(value, default=str, sort_keys=True)
