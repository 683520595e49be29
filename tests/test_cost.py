"""The page on cost holds what the benchmark computes, and says of the settings what config.toml says."""

import re
import tomllib
from pathlib import Path

import pytest

from benchmarks import cost
from common import metrics
from common.config import load
from infra_scripts.assembly import stack_of
from infra_scripts.template import alarms
from processor.pipeline.outcomes import REASONS, VANISHED

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
CONFIG = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))
DATA = cost.load()
INSTANCES = {each["type"]: each for each in DATA["instances"]}


def test_the_page_holds_the_tables() -> None:
    held = PAGE.partition("<!-- ./run bench cost -->\n")[2].partition("\n<!-- end -->")[0]
    assert held.splitlines() == list(cost.tables(DATA))


def test_the_readme_has_the_same_sums() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for row in [line.split(" | ") for line in cost.tables(DATA) if " (" in line]:
        name, at_224, at_100 = (row[n].strip("*| ").replace("**", "") for n in (0, 3, 5))
        assert f"| {name} | {at_224} | {at_100} |" in readme


def test_the_text_says_whether_the_goal_is_met() -> None:
    best = INSTANCES["c8a.xlarge"]
    likely = best["at_224"][1]
    named = {name: cost.Load(DATA, best, likely, name).dollars for name in ("settings", "thrifty")}
    assert f"thrifty below (${named['thrifty']:.2f}," in PAGE
    assert f"the defaults (${named['settings']:.2f})" in PAGE
    assert f"(${cost.metrics_month(DATA):.2f})" in PAGE
    measured = cost.Load(DATA, INSTANCES["c7i.xlarge"], INSTANCES["c7i.xlarge"]["at_224"][1])
    assert f"processors alone are ${measured.parts()['processors']:.2f}" in PAGE


def test_the_settings_are_those_of_the_configuration() -> None:
    settings = DATA["settings"]
    assert settings["batch_max_seconds"] == CONFIG["batch"]["max_seconds"]
    assert settings["batch_max_photos"] == CONFIG["batch"]["max_photos"]
    assert settings["growth_share"] == CONFIG["pca"]["growth_share"]
    assert settings["growth_photos"] == CONFIG["pca"]["growth_photos"]
    assert settings["upkeep_hours"] * 3600 == CONFIG["upkeep"]["interval_seconds"]
    assert DATA["machine"]["volume_gb"] == CONFIG["instance"]["volume_gb"]
    assert CONFIG["instance"]["type"] in INSTANCES


def test_metrics_and_alarms_are_those_of_the_stack() -> None:
    by_reason = sum(metric.by_reason for metric in metrics.ALL)
    rejects = {*REASONS, VANISHED}
    assert DATA["machine"]["metrics"] == len(metrics.ALL) + by_reason * len(rejects)
    made = alarms.resources(stack_of(load(ROOT / "config.toml", environment={})))
    by_type: dict[str, list[dict]] = {}
    for each in made.values():
        by_type.setdefault(str(each["Type"]), []).append(each["Properties"])
    watched = [
        sum("MetricStat" in query for query in alarm.get("Metrics", [])) or 1
        for alarm in by_type["AWS::CloudWatch::Alarm"]
    ]
    assert DATA["machine"]["alarm_metrics"] == sum(watched)
    assert DATA["machine"]["composite_alarms"] == len(by_type["AWS::CloudWatch::CompositeAlarm"])
    assert DATA["machine"]["keys"] == len(by_type["AWS::KMS::Key"])


def test_each_setting_that_the_page_names_exists() -> None:
    named = re.findall(r"`(\w+)\.(\w+)(?: = [^`]+)?`", PAGE.partition("## What moves it")[2])
    assert len(named) > 10
    assert [(section, name) for section, name in named if name not in CONFIG[section]] == []


def test_the_arithmetic_of_one_instance() -> None:
    """By hand: c7i.xlarge at 31.1 photos/s takes 8.93 hours."""
    load = cost.Load(DATA, INSTANCES["c7i.xlarge"], 31.1)
    assert load.hours == pytest.approx(8.932, abs=1e-3)
    assert load.batches == pytest.approx(1e6 / 622)
    parts = load.parts()
    assert parts["processors"] == pytest.approx(8.932 * 0.1785, abs=1e-3)
    assert parts["S3 photos"] == pytest.approx(0.40)
    assert parts["S3's messages"] == pytest.approx(0.40)
    assert parts["storage"] == pytest.approx(0.067, abs=1e-3)
    # 1,608 micro-batches, 11 refits of 360 files each, 9 upkeeps; PUTs only:
    puts = 1608 * (11.3 + 4 * 2) + 11 * (11 + 360) + 9 * 34 + 1608 * 4 / 4 + 9 * 144
    gets = parts["S3 store"] - puts * 5e-6
    assert 0.04 < gets < 0.10


@pytest.mark.parametrize("instance", list(INSTANCES))
def test_a_slower_machine_and_a_smaller_micro_batch_cost_more(instance: str) -> None:
    least, likely, most = INSTANCES[instance]["at_224"]
    assert least < likely < most
    dollars = [cost.Load(DATA, INSTANCES[instance], rate).dollars for rate in (least, likely, most)]
    assert dollars == sorted(dollars, reverse=True)
    thrifty = cost.Load(DATA, INSTANCES[instance], likely, "thrifty")
    assert thrifty.dollars < dollars[1]
