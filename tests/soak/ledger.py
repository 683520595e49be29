"""The ledger: what the writer did to each key, in order, and so what must be under it now."""

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

from tests.soak.contents import Content


@dataclass(frozen=True, slots=True)
class Entry:
    """One change; ``content`` is what is under the key from then on."""

    at: float  # seconds since the epoch
    what: str
    version: str | None
    content: Content | None

    def __str__(self) -> str:
        clock = time.strftime("%H:%M:%S", time.gmtime(self.at))
        now = self.content.name if self.content else "gone"
        return f"{clock}Z {self.what} ({self.version}) -> {now}"


@dataclass
class Ledger:
    """All changes. Written by one thread, read by any."""

    changes: int = 0
    _entries: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, key: str, what: str, version: str | None, content: Content | None) -> None:
        with self._lock:
            self.changes += 1
            self._entries[key].append(Entry(time.time(), what, version, content))

    def history(self, key: str) -> list[Entry]:
        with self._lock:
            return list(self._entries.get(key, ()))

    def all_keys(self) -> set[str]:
        with self._lock:
            return set(self._entries)

    def expected(self) -> dict[str, Content]:
        """The live objects, by key."""
        with self._lock:
            last = {key: entries[-1].content for key, entries in self._entries.items()}
        return {key: content for key, content in last.items() if content}
