"""One alarm: how it is spelled in the template, and the anchor of its section."""

import pytest

from common import metrics
from infra_scripts.template.alarm import FIVE, Alarm, expression, ours, sqs
from tests.support.aws import unique_stack

STACK = unique_stack()
BEHIND = ours("behind", metrics.MATRIX_BEHIND, STACK, "Maximum")


def alarm(**changed: object) -> Alarm:
    given = {"name": "TooSlow", "means": "it is slow", "queries": (BEHIND,), "limit": 7}
    return Alarm(**given | {"most": 2, "of": 3} | changed)  # type: ignore[arg-type]


def test_a_single_metric_is_spelled_plainly() -> None:
    properties = alarm().resource(STACK)["Properties"]
    assert properties["AlarmName"] == f"{STACK.name}-TooSlow"
    assert properties["Namespace"] == "Fruits"
    assert properties["MetricName"] == "MatrixBehind"
    assert properties["Dimensions"] == [{"Name": "Queue", "Value": STACK.queue}]
    assert (properties["Statistic"], properties["Period"]) == ("Maximum", FIVE)
    assert "Metrics" not in properties


def test_an_expression_is_what_the_alarm_watches() -> None:
    waiting = sqs("waiting", "ApproximateNumberOfMessagesVisible", STACK.queue)
    both = alarm(queries=(BEHIND, waiting, expression("sum", "behind + waiting", FIVE)))
    properties = both.resource(STACK)["Properties"]
    assert [each["ReturnData"] for each in properties["Metrics"]] == [False, False, True]
    assert "MetricName" not in properties


def test_the_description_says_what_it_means_and_what_to_do() -> None:
    properties = alarm().resource(STACK)["Properties"]
    assert properties["AlarmDescription"] == "It is slow. What to do: docs/operations.md#too-slow"


@pytest.mark.parametrize("awaits", [False, True])
def test_what_needs_an_instance_waits_for_it(awaits: bool) -> None:
    made = alarm(awaits_instance=awaits).resource(STACK)
    assert ("DependsOn" in made) is awaits
