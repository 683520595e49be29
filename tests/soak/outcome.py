"""The outcome of a stage: what happened in it, and what is not as it should be."""

from collections import Counter
from dataclasses import dataclass, field

from tests.soak.storm import Record
from tests.soak.verdict import Verdict


@dataclass
class Outcome:
    """What a stage found."""

    record: Record
    events: int = 0
    calls: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: Verdict = field(default_factory=Verdict)
    last: Verdict = field(default_factory=Verdict)
    dead_letters: Counter[str] = field(default_factory=Counter)
    orphans: list[str] = field(default_factory=list)
    unexpected_ends: list[str] = field(default_factory=list)
    ends_by_fault: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_bad(self) -> bool:
        found = (self.first.faults, self.last.faults, self.dead_letters, self.orphans)
        return any((*found, self.unexpected_ends, self.problems))
