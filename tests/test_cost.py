"""The page on cost holds what the benchmark computes, and says of the settings what config.toml says."""

import re
import tomllib
from pathlib import Path

import pytest

from benchmarks import cost

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
CONFIG = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))
DATA = cost.load()
INSTANCES = {each["type"]: each for each in DATA["instances"]}


def test_the_page_holds_the_tables() -> None:
    held = PAGE.partition("<!-- ./run bench cost -->\n")[2].partition("\n<!-- end -->")[0]
    assert held.splitlines() == list(cost.tables(DATA))


def test_the_settings_are_those_of_the_configuration() -> None:
    settings = DATA["settings"]
    assert settings["batch_max_seconds"] == CONFIG["batch"]["max_seconds"]
    assert settings["batch_max_photos"] == CONFIG["batch"]["max_photos"]
    assert settings["growth_photos"] == CONFIG["pca"]["growth_photos"]
    assert settings["upkeep_hours"] * 3600 == CONFIG["upkeep"]["interval_seconds"]
    assert DATA["machine"]["volume_gb"] == CONFIG["instance"]["volume_gb"]
    assert CONFIG["instance"]["type"] in INSTANCES


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
    # 1,608 micro-batches, 100 refits of 360 files each, 9 upkeeps; PUTs only:
    puts = 1608 * 19.1 + 100 * (11 + 360) + 9 * 34 + 1608 * 4 / 4 + 9 * 120
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
