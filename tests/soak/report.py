"""The report: what all stages found, as the soak's last line, and whether anything is amiss."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from tests.soak.boundaries import BOUNDARIES
from tests.soak.kills import EXPIRED, KILLS
from tests.soak.outcome import Outcome

COMPLETE_MINUTES = 30  # a soak as long as this has every kind of kill, and kills at every boundary
BAD = ("lost", "duplicated", "wrong", "dead_letters", "orphans", "unexpected_ends", "problems")


def summary(outcomes: Sequence[Outcome], seed: int, minutes: float) -> dict[str, object]:
    """All stages together, ready for JSON."""
    records = [each.record for each in outcomes]
    kinds = _together(each.kinds for each in records)
    boundaries = _together(each.boundaries for each in records)
    faults = _together(each.faults for each in outcomes)
    recoveries = [seconds for each in records for seconds in each.recoveries]
    problems = [line for each in outcomes for line in each.problems]
    if minutes >= COMPLETE_MINUTES:
        wanted = [(kind, kinds) for kind in (*KILLS, EXPIRED)]
        wanted += [(boundary, boundaries) for boundary in BOUNDARIES]
        problems += [f"no kill: {name}" for name, happened in wanted if name not in happened]
    return {
        "kills": kinds.total(),
        "faults": faults.total(),
        "events": sum(each.events for each in outcomes),
        "rows": sum(each.last.rows for each in outcomes),
        "lost": _count(outcomes, "lost"),
        "duplicated": _count(outcomes, "duplicated"),
        "wrong": _count(outcomes, "wrong"),
        "dead_letters": dict(_together(each.dead_letters for each in outcomes)),
        "recovery_p95_s": round(float(np.percentile(recoveries, 95)), 1) if recoveries else None,
        "recoveries": len(recoveries),
        "kills_by_kind": dict(sorted(kinds.items())),
        "boundaries": dict(sorted(boundaries.items())),
        "faults_by_kind": dict(sorted(faults.items())),
        "calls": sum(each.calls for each in outcomes),
        "orphans": [line for each in outcomes for line in each.orphans],
        "unexpected_ends": [line for each in outcomes for line in each.unexpected_ends],
        "ends_by_fault": [line for each in outcomes for line in each.ends_by_fault],
        "problems": problems,
        "waiting": sum(len(each.first.waiting) for each in outcomes),
        "seed": seed,
        "minutes": minutes,
    }


def amiss(found: dict[str, object]) -> list[str]:
    """What should be nothing, and is not."""
    return [name for name in BAD if found[name]]


def _together(counters: Iterable[Counter[str]]) -> Counter[str]:
    return sum(counters, Counter())


def _count(outcomes: Sequence[Outcome], name: str) -> int:
    """Photos, whether they were found so at first or in the end."""
    return sum(len({*getattr(each.first, name), *getattr(each.last, name)}) for each in outcomes)
