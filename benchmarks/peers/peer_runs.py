"""Runs of the peers of `pipeline`, one after the other, each in processes of its own."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import settings
from benchmarks.harness.child import Child
from benchmarks.harness.errors import BenchError
from benchmarks.harness.measured import Measured, timeout_seconds
from benchmarks.harness.together import run_together
from benchmarks.peers.answers import EngineRun, KerasRun, UdfRun
from processor.assembly import network_spec
from processor.pipeline.sizing import share_cores
from processor.spark.resources import cores
from processor.spark.session import worker_environment

KERAS_BATCH = 32
PREPARED = 16  # photos that the engine sees once before anything is timed


@dataclass(frozen=True, slots=True)
class PeerRuns:
    """At one input size, over the same photos."""

    photos: list[Path]
    input_size: int
    environment: dict[str, str]
    scratch: Path

    def prepare(self) -> None:
        """Have the network's files made and in the page cache, so that nobody's start pays for it."""
        replace(self, photos=self.photos[:PREPARED]).engine()

    def keras(self) -> Measured:
        """The plain loop, one process."""
        arguments = [self._list(), str(self.input_size), *self._weights()]
        with self._child("benchmarks.peers.bare_keras", arguments, "keras.out") as child:
            child.finish(timeout_seconds(len(self.photos) + KERAS_BATCH))
            run = child.result(KerasRun)
            return Measured(
                photos_per_s=run.photos_per_s,
                start_up_s=run.warm_at - child.started_at,
                peak_rss_mb=run.peak_rss_bytes / 1e6,
                cpu_s=child.usage.cpu_seconds(),
            )

    def udf(self) -> Measured:
        """Keras in Spark by ``predict_batch_udf``, from a local folder to local Parquet."""
        few = self.photos[: KERAS_BATCH * cores()]  # whole batches: TensorFlow traces each shape
        with TemporaryDirectory(prefix="udf-", dir=self.scratch) as folder:
            _link(self.photos, Path(folder, "photos"))
            _link(few, Path(folder, "few"))
            arguments = [folder, str(self.input_size), *self._weights()]
            with self._child("benchmarks.peers.keras_udf", arguments, "udf.out") as child:
                child.finish(timeout_seconds(len(few) + len(self.photos)))
                run = child.result(UdfRun)
                if run.photos != len(self.photos):
                    raise BenchError(f"the UDF wrote {run.photos} of {len(self.photos)} photos")
                return Measured(
                    photos_per_s=run.photos_per_s,
                    start_up_s=run.warm_at - child.started_at,
                    peak_rss_mb=child.usage.peak_rss_bytes / 1e6,
                    cpu_s=child.usage.cpu_seconds(),
                )

    def engine(self) -> Measured:
        """The service's network in as many processes as the service has, pixels in memory."""
        config = settings.config_of(self.environment)
        spec = network_spec(config)
        shared, _ = share_cores(spec, config.compute.workers, config.compute.threads)
        workers = min(shared, len(self.photos))
        start = self.scratch / "start"
        children = (
            Child(
                "benchmarks.peers.engine_alone",
                [self._list(), str(n), str(workers), str(start)],
                self.environment | worker_environment(),
                self.scratch / f"engine{n}",
            )
            for n in range(workers)
        )
        ended, started_at = run_together(children, start, timeout_seconds(len(self.photos)))
        runs = [child.result(EngineRun) for child in ended]
        seconds = max(each.ended_at for each in runs) - started_at
        return Measured(
            photos_per_s=sum(each.photos for each in runs) / seconds,
            start_up_s=started_at - ended[0].started_at,
            peak_rss_mb=sum(child.usage.peak_rss_bytes for child in ended) / 1e6,
            cpu_s=sum(child.usage.cpu_seconds() for child in ended),
        )

    def _weights(self) -> list[str]:
        """For ``processor.network.weights.obtain``: which, and the folder that keeps them."""
        cache = Path(self.environment["FRUITS_SERVICE__CACHE_DIR"], "weights")
        return [self.environment["FRUITS_MODEL__WEIGHTS"], str(cache)]

    def _list(self) -> str:
        file = self.scratch / "photos.json"
        file.write_text(json.dumps([str(path.resolve()) for path in self.photos]))
        return str(file)

    def _child(self, module: str, arguments: list[str], output: str) -> Child:
        return Child(module, arguments, self.environment, self.scratch / output)


def _link(photos: list[Path], folder: Path) -> None:
    """Make ``folder`` with a link to each of ``photos``, which may lie in several folders."""
    folder.mkdir()
    for number, path in enumerate(photos):
        (folder / f"{number:06}{path.suffix}").symlink_to(path.resolve())
