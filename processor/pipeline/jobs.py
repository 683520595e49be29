"""The Spark jobs of ingestion, as the driver runs them: which tasks on how many workers."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pyspark import SparkContext

from common import aws_errors
from common.log_context import carried
from processor.errors import PhotoError, ServiceError
from processor.photos import objects
from processor.pipeline.outcomes import CRASH, Extracted, Kind, Outcome, Work
from processor.pipeline.tasks import Recipe, extract, load_network
from processor.spark.isolate import isolate
from processor.spark.resources import Slots

TOGETHER_SECONDS = 0.1  # long enough that no worker runs two of the warm-up tasks


@dataclass(frozen=True, slots=True)
class Jobs:
    """Runs tasks of one recipe, as many at a time as there are ``slots``, which are read for each job.

    ``died`` is called when a worker dies.
    """

    context: SparkContext
    recipe: Recipe
    slots: Callable[[], Slots]
    died: Callable[[], object] = lambda: None

    def ship(self) -> None:
        """Have Spark copy what the engine loads to each machine of a cluster, once."""
        self.context.addFile(self.recipe.network.file)

    def extract(self, works: Sequence[Work]) -> list[Extracted]:
        """Run :func:`.tasks.extract` over ``works``; every one of them has one outcome.

        A photo over which a worker process dies is found by bisection; it is pending, suspected of a
        ``crash``. If a task fails, raises what Spark makes of its error: the text, which of an error of
        AWS names cause and fix.
        """
        slots = self.slots()
        recipe = replace(self.recipe, tasks=slots.each)

        @carried
        def task(share: Sequence[Work]) -> Extracted:
            try:
                return extract(share, recipe)
            except aws_errors.ERRORS as error:  # of which only the text reaches the driver
                raise ServiceError(aws_errors.explain(error)) from error

        def job(shares: Sequence[Sequence[Work]]) -> list[Extracted]:
            return self.context.parallelize(shares, len(shares)).map(task).collect()

        done = isolate(works, job, slots.tasks, self.died)
        left = (*map(self._suspect, done.suspects), *map(_untried, done.untried))
        return [*done.results, Extracted(None, left)] if left else done.results

    def warm_up(self) -> None:
        """Have every worker load the network, if it has not, and keep it alive for another minute.

        Spark ends workers that have been idle for a minute; a photo would then wait for new ones.
        """
        network, slots = self.recipe.network, self.slots()

        def load(_: int) -> None:
            load_network(network, slots.each)
            time.sleep(TOGETHER_SECONDS)

        self.context.parallelize(range(slots.tasks), slots.tasks).foreach(load)

    def _suspect(self, work: Work) -> Outcome:
        version = work.event_version
        if not version:  # not all implementations of S3 name it
            with contextlib.suppress(PhotoError):
                version = objects.current_version(self.recipe.layout.bucket, work.key)
        detail = "a worker died over it alone: it exploits or exhausts the decoder, or was killed"
        return Outcome(work.key, Kind.PENDING, version or "", CRASH, detail)


def _untried(work: Work) -> Outcome:
    detail = (
        "no worker lived long enough to process it; are machines short of memory, or going away?"
    )
    return Outcome(work.key, Kind.PENDING, work.event_version or "", "unavailable", detail)
