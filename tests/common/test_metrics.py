"""The metrics: documents that CloudWatch accepts, and the table of all."""

import json
import math
import random
from datetime import UTC, datetime
from pathlib import Path

from common import metrics
from common.metrics import documents, order_statistics
from tests.support import emf

AT = datetime(2026, 11, 27, 5, 30, tzinfo=UTC)
TABLE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def test_a_document_is_one_that_cloudwatch_accepts() -> None:
    (line,) = documents("q", {metrics.PHOTOS: 3, metrics.UPLOAD_TO_ROW: [2.5, 1.5]}, AT)
    assert json.loads(json.dumps(line)) == line
    (photos, latency) = emf.metric_data(line)["Fruits"]
    dimension = [{"Name": "Queue", "Value": "q"}]
    common = {"Dimensions": dimension, "Timestamp": AT.timestamp()}
    assert photos == common | {"MetricName": "Photos", "Values": [3], "Unit": "Count"}
    expected = {"MetricName": "UploadToRow", "Values": [1.5, 2.5], "Unit": "Seconds"}
    assert latency == common | expected


def test_each_reason_has_a_document_after_the_sum() -> None:
    total, *reasons = documents("q", {metrics.REJECTS: {"corrupt": 2, "empty": 3}}, AT)
    assert total["Rejects"] == 5
    assert "Reason" not in total
    assert [(each["Reason"], each["Rejects"]) for each in reasons] == [("corrupt", 2), ("empty", 3)]
    for each in reasons:
        (datum,) = emf.metric_data(each)["Fruits"]
        assert [pair["Name"] for pair in datum["Dimensions"]] == ["Queue", "Reason"]


def test_no_rejects_are_a_zero() -> None:
    (line,) = documents("q", {metrics.REJECTS: {}}, AT)
    assert line["Rejects"] == 0


def test_what_is_no_number_is_left_out() -> None:
    (line,) = documents(
        "q", {metrics.DRIFT: math.nan, metrics.PENDING: 1, metrics.UPLOAD_TO_ROW: []}, AT
    )
    emf.check(line)
    assert not line.keys() & {"Drift", "UploadToRow"}
    assert documents("q", {metrics.DRIFT: math.inf}, AT) == []


def test_of_many_values_the_distribution_is_kept() -> None:
    values = [random.Random(n).expovariate(1) for n in range(2048)]
    (line,) = documents("q", {metrics.UPLOAD_TO_ROW: values}, AT)
    emf.check(line)
    kept = line["UploadToRow"]
    assert (len(kept), kept[0], kept[-1]) == (100, min(values), max(values))
    for share in (0.5, 0.95):
        exact = sorted(values)[round(share * 2047)]
        assert math.isclose(kept[round(share * 99)], exact, rel_tol=0.03)
    assert order_statistics(range(100)) == [*range(100)]


def test_all_metrics_fit_into_one_document_and_differ() -> None:
    (line,) = documents("q", dict.fromkeys(metrics.ALL, 1), AT)
    emf.check(line)
    assert len({each.name for each in metrics.ALL}) == len(metrics.ALL) == len(line) - 2
    defined = {each for each in vars(metrics).values() if isinstance(each, metrics.Metric)}
    assert defined == set(metrics.ALL)


def test_the_table_has_every_metric() -> None:
    rows = [
        f"| `{each.name}` | {each.unit} | {', '.join(each.statistics)} | {each.description}"
        f"{'; also by reason' if each.by_reason else ''} |"
        for each in metrics.ALL
    ]
    table = [line for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    assert table == rows
