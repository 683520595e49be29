"""The reasons: photos that have no row or wait, counted by reason, with a few examples; a Spark task."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from processor.report.summary import Group
from processor.store import datafiles

EXAMPLES = 3
BATCH_ROWS = 4096


def groups(folder: str, paths: Iterable[str]) -> list[Group]:
    """The rows of rejects/ or pending/ by reason, the most first, each with its first EXAMPLES.

    Memory: a data file. Raises FileNotFoundError if a vacuum has deleted it.
    """
    counts: Counter[str] = Counter()
    examples: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(paths):
        for batch in datafiles.batches(folder, path, ["key", "reason", "detail"], BATCH_ROWS):
            rows = datafiles.without_views(pa.Table.from_batches([batch]))
            for each in pc.value_counts(rows["reason"]).to_pylist():
                reason = each["values"]
                counts[reason] += each["counts"]
                some = examples.setdefault(reason, [])
                if len(some) < EXAMPLES:
                    found = rows.filter(pc.equal(rows["reason"], reason))
                    first = found.slice(0, EXAMPLES - len(some)).to_pylist()
                    some += [(row["key"], row["detail"]) for row in first]
    return [Group(reason, count, examples[reason]) for reason, count in counts.most_common()]
