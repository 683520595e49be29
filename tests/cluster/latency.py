"""``python -m tests.cluster.latency MASTER FOLDER``: a job of nothing beside a long background job.

``before`` is as it was when background tasks took as many slots as the driver had cores, ``after`` with
the share that :class:`processor.spark.cluster.Executors` leaves them, ``idle`` without any. Seconds.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pyspark import SparkContext

from processor.spark import session
from processor.spark.background import Background
from processor.spark.cluster import Executors
from processor.spark.resources import cores

LONG_SECONDS = 20.0
JOBS = 5


def main() -> None:
    """Print a JSON object."""
    master, folder = sys.argv[1:]
    context = session.start(master, "1g", Path(folder)).sparkContext
    executors = Executors(context)
    executors.ingestion()
    slots = executors._slots()
    for tasks in (2, sum(slots.values())):  # Python workers of both kinds start
        Background(context, lambda tasks=tasks: tasks).run(range(8), list)
        context.parallelize(range(tasks), tasks).count()
    found = {
        "slots": sum(slots.values()),
        "ingestion": executors.ingestion().tasks,
        "background": executors.background(),
        "background_seconds": LONG_SECONDS,
        "idle": _worst(context, executors, 1),
        "before": _beside(context, executors, lambda: max(cores(), sum(slots.values()))),
        "after": _beside(context, executors, executors.background),
    }
    print(json.dumps(found), flush=True)


def _beside(context: SparkContext, executors: Executors, parallelism: Callable[[], int]) -> float:
    """The longest job while as many background tasks as allowed take LONG_SECONDS."""

    def sleep(items: Iterable[int]) -> Iterator[int]:
        time.sleep(LONG_SECONDS)
        yield from items

    job = Background(context, parallelism)
    thread = threading.Thread(target=lambda: job.run(range(64), sleep))
    thread.start()
    time.sleep(2)
    worst = _worst(context, executors, JOBS)
    thread.join()
    return worst


def _worst(context: SparkContext, executors: Executors, count: int) -> float:
    took = []
    for _ in range(count):
        began = time.monotonic()
        tasks = executors.ingestion().tasks
        context.parallelize(range(tasks), tasks).map(str).collect()
        took.append(time.monotonic() - began)
    return round(max(took), 3)


if __name__ == "__main__":
    main()
