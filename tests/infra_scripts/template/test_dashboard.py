"""The dashboard: every metric and every alarm is on it, and it is what CloudWatch can draw."""

import json
import re
from typing import Any

import pytest

from common import metrics
from common.metrics import Question
from infra_scripts.stack import Instance, Stack
from infra_scripts.template import alarms, dashboard
from tests.support.aws import unique_stack

STACKS = [unique_stack(instance=Instance(type=kind)) for kind in ("t2.xlarge", "c7a.large", "")]


def widgets_of(stack: Stack) -> list[dict[str, Any]]:
    body = str(dashboard.resources(stack)["Dashboard"]["Properties"]["DashboardBody"])
    return json.loads(re.sub(r"\$\{[^}]+\}", "filled", body))["widgets"]


def lines_of(stack: Stack) -> list[list[Any]]:
    graphs = [each for each in widgets_of(stack) if each["type"] == "metric"]
    return [line for graph in graphs for line in graph["properties"]["metrics"]]


@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.instance.type)
def test_every_metric_is_drawn_with_its_statistics(stack: Stack) -> None:
    drawn = {(line[1], line[-1]["stat"]) for line in lines_of(stack) if line[0] == "Fruits"}
    assert drawn == {(each.name, stat) for each in metrics.ALL for stat in each.statistics}


@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.instance.type)
def test_whatever_an_alarm_watches_is_drawn(stack: Stack) -> None:
    queries = [query for each in alarms.alarms(stack) for query in each.queries]
    watched = {q["MetricStat"]["Metric"]["MetricName"] for q in queries if "MetricStat" in q}
    assert watched <= {line[1] for line in lines_of(stack) if len(line) > 1}


def test_rejects_are_drawn_by_reason() -> None:
    (search,) = [line[0]["expression"] for line in lines_of(STACKS[0]) if len(line) == 1]
    assert search.startswith('SEARCH(\'{Fruits,Queue,Reason} MetricName="Rejects"')


def test_each_question_has_its_heading_and_the_alarms_their_state() -> None:
    kinds = [(each["type"], each["properties"].get("markdown")) for each in widgets_of(STACKS[0])]
    headings = [text for kind, text in kinds if kind == "text"]
    assert headings == [f"# {question}" for question in Question]
    (states,) = [each for each in widgets_of(STACKS[0]) if each["type"] == "alarm"]
    assert len(states["properties"]["alarms"]) == len(alarms.alarms(STACKS[0])) + 1


@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.instance.type)
def test_what_is_filled_in_is_in_the_template(stack: Stack) -> None:
    body = str(dashboard.resources(stack)["Dashboard"]["Properties"]["DashboardBody"])
    names = {each.partition(".")[0] for each in re.findall(r"\$\{([^}]+)\}", body)}
    made = alarms.resources(stack).keys() | ({"Instance"} if stack.instance.type else set())
    assert names - {"AWS::Region"} <= made
    assert ("Instance" in names) == bool(stack.instance.type)


def test_no_widget_covers_another() -> None:
    cells = [
        (x, y)
        for each in widgets_of(STACKS[0])
        for x in range(each["x"], each["x"] + each["width"])
        for y in range(each["y"], each["y"] + each["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
