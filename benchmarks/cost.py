"""Dollars for a million photos on AWS, from the prices and figures in benchmarks/cost.toml.

The tables are those of docs/cost.md, which also says what is left out.
"""

import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import command

FILE = Path(__file__).with_suffix(".toml")
MILLION = 1_000_000
FIRST_PHOTOS = 128  # of the micro-batch after which the first PCA is fitted
SIZES = (224, 100)
PARTS = (
    *("processors", "S3 photos", "S3 store", "SQS", "S3's messages", "storage"),
    *("logs", "metrics", "volume, address"),
)


@dataclass(frozen=True, slots=True)
class Load:
    """A machine that takes so many photos a second, until a million of a new store are through."""

    data: dict[str, Any]
    instance: dict[str, Any]
    photos_per_s: float
    named: str = "settings"  # the table of data with the settings of config.toml

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = self.data[self.named]
        return found

    @property
    def hours(self) -> float:
        return float(MILLION / self.photos_per_s / 3600)

    @property
    def batches(self) -> float:
        """Micro-batches; one takes its target duration, unless that would be too many photos."""
        settings = self.settings
        most = self.photos_per_s * settings["batch_max_seconds"]
        return float(MILLION / min(most, settings["batch_max_photos"]))

    @property
    def refits(self) -> int:
        """By growth alone, the first of one micro-batch; drift would add some."""
        share, least = (self.data["settings"][f"growth_{name}"] for name in ("share", "photos"))
        fitted, count = FIRST_PHOTOS, 1
        while (fitted := fitted + max(least, share * fitted)) <= MILLION:
            count += 1
        return count

    @property
    def dollars(self) -> float:
        """All parts."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        """Dollars, by PARTS."""
        prices, requests = self.data["prices"], self.data["requests"]
        request = prices["sqs_request"]
        log_bytes = (
            self.batches * requests["batch_log_bytes"] + self.hours * requests["hour_log_bytes"]
        )
        dollars = (
            self.hours * self.instance["hour"],
            MILLION * requests["photo_s3_get"] * prices["s3_get"],
            self._store(),
            (MILLION * requests["photo_sqs"] + self.hours * requests["hour_sqs"]) * request,
            MILLION * requests["photo_event"] * request,
            MILLION * requests["photo_bytes"] / 1e9 * prices["s3_gb_month"],
            log_bytes / 1e9 * prices["logs_gb"],
            self.hours * metrics_month(self.data) / prices["hours_in_month"],
            self.hours * self._surroundings(),
        )
        return dict(zip(PARTS, dollars, strict=True))

    def _store(self) -> float:
        """Requests for the tables: micro-batches, refits, upkeep, looking for changes."""
        requests, prices = self.data["requests"], self.data["prices"]
        workers, upkeep = self.instance["workers"], self.settings["upkeep_hours"]
        files = self.batches * workers
        small = files / self.hours * min(upkeep, self.hours) / 2  # there on average, until merged
        refits = self.refits
        dollars = 0.0
        for kind in ("put", "get"):
            count = (
                self.batches * requests[f"batch_s3_{kind}"]
                + files * requests[f"file_s3_{kind}"]
                + refits
                * (requests[f"refit_s3_{kind}"] + small * requests[f"refit_file_s3_{kind}"])
                + self.hours / upkeep * requests[f"upkeep_s3_{kind}"]
                + files * requests[f"upkeep_file_s3_{kind}"]
                + self.hours * requests[f"hour_s3_{kind}"]
            )
            dollars += count * prices[f"s3_{kind}"]
        return dollars

    def _surroundings(self) -> float:
        prices, machine = self.data["prices"], self.data["machine"]
        volume = machine["volume_gb"] * prices["volume_gb_month"] / prices["hours_in_month"]
        return float(volume + prices["address_hour"])


def metrics_month(data: dict[str, Any]) -> float:
    """Dollars a month for metrics, alarms and the dashboard, whether photos come or not."""
    prices, machine = data["prices"], data["machine"]
    return float(
        machine["metrics"] * prices["metric_month"]
        + machine["alarm_metrics"] * prices["alarm_metric_month"]
        + machine["composite_alarms"] * prices["composite_alarm_month"]
        + machine["dashboards"] * prices["dashboard_month"]
        + machine["keys"] * prices["key_month"]
    )


def load() -> dict[str, Any]:
    """The prices and figures."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def tables(data: dict[str, Any]) -> Iterator[str]:
    """The lines of docs/cost.md between its markers."""
    yield "| instance | $ an hour | 224 px: photos/s | $ a million | 100 px: photos/s | $ a million |"
    yield "|---|---|---|---|---|---|"
    for each in data["instances"]:
        yield (
            f"| {each['type']} | {each['hour']:.4f} | "
            + " | ".join(
                f"{_span(each[f'at_{size}'])} | {_span_of_dollars(data, each, size)}"
                for size in SIZES
            )
            + " |"
        )
    for size in SIZES:
        yield ""
        yield (
            f"| $ a million at {size} px | "
            + " | ".join(e["type"] for e in data["instances"])
            + " |"
        )
        yield "|---|" + "---|" * len(data["instances"])
        columns = [_likely(data, each, size).parts() for each in data["instances"]]
        for part in PARTS:
            yield f"| {part} | " + " | ".join(f"{column[part]:.2f}" for column in columns) + " |"
        yield "| **sum** | " + " | ".join(f"**{sum(c.values()):.2f}**" for c in columns) + " |"
        thrifty = [_likely(data, each, size, "thrifty").dollars for each in data["instances"]]
        yield "| sum, thrifty | " + " | ".join(f"{dollars:.2f}" for dollars in thrifty) + " |"


def _likely(
    data: dict[str, Any], instance: dict[str, Any], size: int, named: str = "settings"
) -> Load:
    return Load(data, instance, instance[f"at_{size}"][1], named)


def _span(rates: Sequence[float]) -> str:
    least, likely, most = rates
    return f"{likely:g} ({least:g}-{most:g})"


def _span_of_dollars(data: dict[str, Any], instance: dict[str, Any], size: int) -> str:
    sums = [Load(data, instance, rate).dollars for rate in instance[f"at_{size}"]]
    return f"**{sums[1]:.2f}** ({min(sums):.2f}-{max(sums):.2f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, and a last line in JSON."""
    command.parser("cost", __doc__).parse_args(arguments)
    data = load()
    print(*tables(data), sep="\n")
    sums = {
        each["type"]: {str(size): round(_likely(data, each, size).dollars, 3) for size in SIZES}
        for each in data["instances"]
    }
    print(json.dumps({"dollars_per_million": sums, "metrics_month": round(metrics_month(data), 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
