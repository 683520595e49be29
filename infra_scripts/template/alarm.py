"""One alarm: the metric or expression that it watches, its limit, and how CloudWatch evaluates it."""

from dataclasses import dataclass
from typing import Any

from common.metrics import NAMESPACE, QUEUE, Metric
from infra_scripts.stack import Stack
from infra_scripts.template.resource import Resource, ref, resource

Query = dict[str, Any]

RUNBOOK = "docs/operations.md"
MINUTE, FIVE, HOUR = 60, 300, 3600
OK, KEEP, DEAD = "notBreaching", "missing", "breaching"  # what missing data mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm, as CloudWatch evaluates it: ``most`` of the last ``of`` periods are beyond ``limit``.

    ``queries`` are metric queries, and perhaps an expression over them, which comes last.
    ``missing`` says what a period without data means. With ``awaits_instance`` it does not exist before
    the instance does, although it does not name it.
    """

    name: str
    means: str
    queries: tuple[Query, ...]
    limit: float
    comparison: str = "GreaterThanThreshold"
    most: int
    of: int
    missing: str = OK
    awaits_instance: bool = False

    @property
    def logical_id(self) -> str:
        return f"Alarm{self.name}"

    @property
    def anchor(self) -> str:
        """The heading of its section in the runbook."""
        letters = (f"-{c.lower()}" if c.isupper() else c for c in self.name)
        return "".join(letters).removeprefix("-")

    def resource(self, stack: Stack) -> Resource:
        """As CloudFormation declares it."""
        meaning = f"{self.means[0].upper()}{self.means[1:]}."
        return resource(
            "AWS::CloudWatch::Alarm",
            f"Alarms when {self.means}.",
            {
                "AlarmName": f"{stack.name}-{self.name}",
                "AlarmDescription": f"{meaning} What to do: {RUNBOOK}#{self.anchor}",
                **self._watched(),
                "ComparisonOperator": self.comparison,
                "Threshold": self.limit,
                "EvaluationPeriods": self.of,
                "DatapointsToAlarm": self.most,
                "TreatMissingData": self.missing,
                "AlarmActions": [ref("AlarmTopic")],
                "OKActions": [ref("AlarmTopic")],
            },
            after=["Instance"] if self.awaits_instance else [],
        )

    def _watched(self) -> Resource:
        """A plain metric where that will do: it costs less."""
        *others, last = self.queries
        if others:
            return {"Metrics": [*others, last | {"ReturnData": True}]}
        stat = last["MetricStat"]
        return {**stat["Metric"], "Period": stat["Period"], "Statistic": stat["Stat"]}


def sqs(id_: str, name: str, queue: str) -> Query:
    """A metric of SQS, its maximum in five minutes."""
    return _query(id_, "AWS/SQS", name, {"QueueName": queue}, "Maximum", FIVE)


def ec2(id_: str, name: str, statistic: str, period: int) -> Query:
    """A metric of EC2 about the instance."""
    return _query(id_, "AWS/EC2", name, {"InstanceId": ref("Instance")}, statistic, period)


def ours(id_: str, metric: Metric, stack: Stack, statistic: str, period: int = FIVE) -> Query:
    """One of our metrics, of all services on the queue."""
    return _query(id_, NAMESPACE, metric.name, {QUEUE: stack.queue}, statistic, period)


def _query(
    id_: str, namespace: str, name: str, dimensions: dict[str, Any], statistic: str, period: int
) -> Query:
    pairs = [{"Name": each, "Value": value} for each, value in dimensions.items()]
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": pairs}
    return {
        "Id": id_,
        "MetricStat": {"Metric": metric, "Period": period, "Stat": statistic},
        "ReturnData": False,
    }


def expression(id_: str, expression: str, period: int) -> Query:
    """Metric math over the queries before it."""
    return {"Id": id_, "Expression": expression, "Period": period, "ReturnData": False}
