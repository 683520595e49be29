"""The Spark jobs of ingestion, as the driver runs them: which tasks on how many workers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark import SparkContext

from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from processor.pipeline.tasks import Recipe, extract, load_network
from processor.spark.isolate import DEATHS, isolate

TOGETHER_SECONDS = 0.1  # long enough that no worker runs two of the warm-up tasks


@dataclass(frozen=True, slots=True)
class Jobs:
    """Runs tasks of one recipe, at most ``workers`` at a time."""

    context: SparkContext
    recipe: Recipe
    workers: int

    def ship(self) -> None:
        """Have Spark copy the compiled network to each machine of a cluster, once."""
        compiled = self.recipe.network.compiled
        if compiled:
            self.context.addFile(compiled.path)

    def extract(self, works: Sequence[Work]) -> list[Extracted]:
        """Run :func:`.tasks.extract` over ``works``; every one of them has one outcome.

        A photo whose decoding kills its worker process is found by bisection and rejected alone.
        Raises :class:`WorkerDied` if too many do, and py4j's ``Py4JJavaError`` if a task fails.
        """
        recipe = self.recipe

        def job(shares: Sequence[Sequence[Work]]) -> list[Extracted]:
            rdd = self.context.parallelize(shares, len(shares))
            return rdd.map(lambda share: extract(share, recipe)).collect()

        done = isolate(works, job, self.workers)
        crashed = tuple(map(_crashed, done.culprits))
        return [*done.results, Extracted(None, crashed)] if crashed else done.results

    def warm_up(self) -> None:
        """Have every worker load the network, if it has not, and keep it alive for another minute.

        Spark ends workers that have been idle for a minute; a photo would then wait for new ones.
        """
        network = self.recipe.network

        def load(_: int) -> None:
            load_network(network)
            time.sleep(TOGETHER_SECONDS)

        self.context.parallelize(range(self.workers), self.workers).foreach(load)


def _crashed(work: Work) -> Outcome:
    detail = f"{DEATHS} workers died over it alone; the file may exploit or exhaust the decoder"
    return Outcome(work.key, Kind.REJECTED, work.event_version or "", "crash", detail)
