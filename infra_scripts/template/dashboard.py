"""The dashboard: is it keeping up, is anything wrong, where; and the state of every alarm.

Drawn from :data:`common.metrics.ALL`, a graph for each metric, so none can be missing.
"""

import json
from collections.abc import Sequence
from typing import Any

from common import metrics
from common.metrics import NAMESPACE, QUEUE, REASON, Metric, Question
from infra_scripts.machines import is_burstable
from infra_scripts.stack import Stack
from infra_scripts.template import alarms
from infra_scripts.template.resource import Resource, resource

Widget = dict[str, Any]

COLUMNS = 24  # of CloudWatch's grid
ACROSS = 4  # graphs beside one another
HEIGHT = 5
PERIOD = 300


def resources(stack: Stack) -> dict[str, Resource]:
    """The dashboard, by logical id. It shows the stack's alarms, which must be in the same template."""
    body = json.dumps({"start": "-PT12H", "widgets": _widgets(stack)}, separators=(",", ":"))
    return {
        "Dashboard": resource(
            "AWS::CloudWatch::Dashboard",
            "Shows whether it keeps up, whether anything is wrong, and where.",
            {"DashboardName": stack.name, "DashboardBody": body},
        )
    }


def _widgets(stack: Stack) -> list[Widget]:
    widgets: list[Widget] = []
    top = 0
    for question in Question:
        widgets.append(
            _placed({"type": "text", "properties": {"markdown": f"# {question}"}}, 0, top)
        )
        top += 1
        if question is Question.WRONG:
            widgets.append(_placed(_alarms(stack), 0, top, height=3))
            top += 3
        graphs = _graphs(stack, question)
        for at, graph in enumerate(graphs):
            row, column = divmod(at, ACROSS)
            width = COLUMNS // ACROSS
            widgets.append(
                _placed(graph, column * width, top + row * HEIGHT, width=width, height=HEIGHT)
            )
        top += -(-len(graphs) // ACROSS) * HEIGHT
    return widgets


def _graphs(stack: Stack, question: Question) -> list[Widget]:
    graphs = _of_aws(stack, question)
    for metric in metrics.ALL:
        if metric.question is question:
            graphs.append(
                _graph(_spelled(metric), [_line(stack, metric, each) for each in metric.statistics])
            )
    if question is Question.WHERE:
        graphs += [_by_reason(stack, each) for each in metrics.ALL if each.by_reason]
    return graphs


def _of_aws(stack: Stack, question: Question) -> list[Widget]:
    """The graphs of what SQS and EC2 measure themselves."""
    sqs, ec2 = "AWS/SQS", "AWS/EC2"
    ours = ["QueueName", stack.queue]
    dead = ["QueueName", stack.dead_letter_queue]
    shown: dict[Question, list[tuple[str, list[list[Any]]]]] = {
        Question.KEEPING_UP: [
            (
                "Messages that wait, and in flight",
                [
                    [sqs, "ApproximateNumberOfMessagesVisible", *ours, _at("Maximum")],
                    [sqs, "ApproximateNumberOfMessagesNotVisible", *ours, _at("Maximum")],
                ],
            ),
            (
                "Age of the oldest message (s)",
                [[sqs, "ApproximateAgeOfOldestMessage", *ours, _at("Maximum")]],
            ),
        ],
        Question.WRONG: [
            (
                "Dead letters",
                [[sqs, "ApproximateNumberOfMessagesVisible", *dead, _at("Maximum")]],
            )
        ],
        Question.WHERE: [],
    }
    if stack.instance.type:
        machine = ["InstanceId", "${Instance}"]
        checks = ("StatusCheckFailed", "StatusCheckFailed_System")
        shown[Question.WRONG].append(
            ("Failed status checks", [[ec2, each, *machine, _at("Maximum")] for each in checks])
        )
        shown[Question.WHERE].append(
            ("Processor (%)", [[ec2, "CPUUtilization", *machine, _at("Average")]])
        )
        if is_burstable(stack.instance.type):
            credits_ = ("CPUCreditBalance", "CPUSurplusCreditsCharged")
            shown[Question.WRONG].append(
                ("CPU credits", [[ec2, each, *machine, _at("Minimum")] for each in credits_])
            )
    return [_graph(title, lines) for title, lines in shown[question]]


def _line(stack: Stack, metric: Metric, statistic: str) -> list[Any]:
    return [NAMESPACE, metric.name, QUEUE, stack.queue, _at(statistic)]


def _at(statistic: str) -> dict[str, str]:
    return {"stat": statistic}


def _by_reason(stack: Stack, metric: Metric) -> Widget:
    """A line for each reason that has occurred; which those are, CloudWatch finds out."""
    search = (
        f'SEARCH(\'{{{NAMESPACE},{QUEUE},{REASON}}} MetricName="{metric.name}" '
        f"{QUEUE}=\"{stack.queue}\"', 'Sum', {PERIOD})"
    )
    return _graph(f"{_spelled(metric)} by reason", [[{"expression": search}]])


def _graph(title: str, lines: Sequence[list[Any]]) -> Widget:
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": "${AWS::Region}",
            "view": "timeSeries",
            "period": PERIOD,
            "yAxis": {"left": {"min": 0}},
            "metrics": list(lines),
        },
    }


def _alarms(stack: Stack) -> Widget:
    arns = [f"${{{each}.Arn}}" for each in ("AlarmFruits", *_alarm_ids(stack))]
    return {"type": "alarm", "properties": {"title": "Alarms", "alarms": arns}}


def _alarm_ids(stack: Stack) -> list[str]:
    return [each.logical_id for each in alarms.alarms(stack)]


def _placed(widget: Widget, x: int, y: int, *, width: int = COLUMNS, height: int = 1) -> Widget:
    return {**widget, "x": x, "y": y, "width": width, "height": height}


def _spelled(metric: Metric) -> str:
    units = {"Seconds": " (s)", "Percent": " (%)", "Bytes": " (bytes)", "Count/Second": " (1/s)"}
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in metric.name).strip()
    return f"{words.capitalize()}{units.get(metric.unit, '')}"
