"""The verdict: whether the tables are the bucket, and if not, what is lost, duplicated or wrong."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.soak.contents import Content

TOLERANCE = 1e-4  # of features, relative; what engines may differ by
VANISHED = "vanished"  # the one reject that may outlive its photo, for a while


@dataclass(frozen=True, slots=True)
class Live:
    """An object under the prefix, as S3 has it now."""

    version: str
    content: Content


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A row of features/."""

    key: str
    version: str
    features: Sequence[float]


@dataclass(frozen=True, slots=True)
class Noted:
    """A row of rejects/ or pending/."""

    key: str
    version: str
    reason: str


@dataclass
class Verdict:
    """What is not as it should be, by key, each with the reason."""

    lost: dict[str, str] = field(default_factory=dict)
    duplicated: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    rows: int = 0

    @property
    def faults(self) -> dict[str, str]:
        return {
            key: f"{kind}: {why}"
            for kind in ("lost", "duplicated", "wrong")
            for key, why in getattr(self, kind).items()
        }


def judge(
    live: Mapping[str, Live],
    rows: Sequence[Stored],
    rejects: Sequence[Noted],
    pending: Sequence[Noted],
    expected: Mapping[str, Sequence[float]],
    *,
    strict: bool,
) -> Verdict:
    """Compare the tables with the bucket; ``expected`` are features by the name of the content.

    A photo with a row in pending/ is to be tried again, whatever else the tables say of it: it is
    ``waiting``. If ``strict``, nothing may wait.
    """
    verdict = Verdict(rows=len(rows), waiting={each.key for each in pending})
    stored = {each.key: each for each in rows}
    rejected = {each.key: each for each in rejects}
    for table, all_of in (("features", rows), ("rejects", rejects), ("pending", pending)):
        for key in _repeated([each.key for each in all_of]):
            verdict.duplicated[key] = f"several rows in {table}/"
    waiting: Collection[str] = () if strict else verdict.waiting
    for key in sorted({*live, *stored, *rejected} - set(waiting)):
        _judge_key(verdict, key, live.get(key), stored.get(key), rejected.get(key), expected)
    if strict:
        for each in pending:
            verdict.wrong.setdefault(each.key, f"still waits: {each.reason}")
    return verdict


def _judge_key(
    verdict: Verdict,
    key: str,
    now: Live | None,
    row: Stored | None,
    reject: Noted | None,
    expected: Mapping[str, Sequence[float]],
) -> None:
    if now is None:
        if row:
            verdict.duplicated[key] = f"a row of {row.version}, whose photo is gone"
        if reject and reject.reason != VANISHED:
            verdict.wrong[key] = f"a reject of {reject.version}, whose photo is gone"
    elif now.content.good:
        if row is None:
            verdict.lost[key] = f"no row of {now.version}" + _said(reject)
        elif row.version != now.version:
            verdict.wrong[key] = f"a row of {row.version}, not {now.version}"
        elif not _alike(row.features, expected[now.content.name]):
            verdict.wrong[key] = f"features that are not those of {now.content.name}"
        elif reject:
            verdict.wrong[key] = "a row and a reject" + _said(reject)
    else:
        if row:
            verdict.wrong[key] = f"a row of {row.version}, but S3 has {now.content.name}"
        elif reject is None or reject.version != now.version:
            verdict.wrong[key] = f"no reject of {now.content.name}" + _said(reject)


def _said(reject: Noted | None) -> str:
    return f"; a reject of {reject.version}: {reject.reason}" if reject else ""


def _alike(features: Sequence[float], expected: Sequence[float]) -> bool:
    found, wanted = np.asarray(features, float), np.asarray(expected, float)
    if found.shape != wanted.shape:
        return False
    return bool(np.linalg.norm(found - wanted) <= TOLERANCE * np.linalg.norm(wanted))


def _repeated(keys: Sequence[str]) -> list[str]:
    return [key for key, times in Counter(keys).items() if times > 1]
