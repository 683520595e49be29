"""The alarms: each goes to ALARM and back to OK by its metric, and stays OK at a blip."""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from common import metrics
from common.metrics import Metric, Value, documents
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.stack import Alarms, Instance, Stack
from infra_scripts.template import alarms
from tests.support import emf
from tests.support.alarm_states import MORE, composite_state, state
from tests.support.aws import unique_stack

INSTANCE = "i-0123456789abcdef0"
BEGIN = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=7)
ALIVE: dict[Metric, Value] = {  # what a service that has nothing to do says each minute
    metrics.PHOTOS: 0,
    metrics.HANDLED: 0,
    metrics.REJECTS: 0,
    metrics.WORKER_DEATHS: 0,
    metrics.MATRIX_BEHIND: 0,
    metrics.MEMORY_USED: 60,
    metrics.DISK_USED: 30,
    metrics.PENDING: 500,
    metrics.HEARTBEAT: 1,
}
VISIBLE, HELD, OLDEST = (
    "ApproximateNumberOfMessagesVisible",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateAgeOfOldestMessage",
)
BUSY = ALIVE | {metrics.PHOTOS: 100, metrics.HANDLED: 100}

Say = dict[Metric, Value]


@dataclass(frozen=True)
class Minute:
    """What the service says in a minute, and what SQS and EC2 measure; ``dead``: of the dead letters."""

    said: Say = field(default_factory=lambda: dict(ALIVE))
    queue: dict[str, float] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)
    machine: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """A minute in which all is well, one in which something is wrong; it may depend on its number."""

    well: Callable[[int], Minute]
    wrong: Callable[[int], Minute]


def always(said: Say | None = None, **more: dict[str, float]) -> Callable[[int], Minute]:
    return lambda _: Minute(ALIVE if said is None else said, **more)


def says(metric: Metric, wrong: float, well: float | None = None) -> Scenario:
    usual = ALIVE if well is None else ALIVE | {metric: well}
    return Scenario(always(usual), always(ALIVE | {metric: wrong}))


def grows(minute: int) -> Minute:
    return Minute(ALIVE | {metrics.PENDING: 500 + minute})


SCENARIOS = {
    "OldestMessage": Scenario(always(queue={OLDEST: 1800}), always(queue={OLDEST: 1801})),
    "DeadLetters": Scenario(always(dead={VISIBLE: 0}), always(dead={VISIBLE: 1})),
    "InFlight": Scenario(always(queue={HELD: 100_000}), always(queue={HELD: 119_000})),
    "NoProgress": Scenario(
        always(BUSY, queue={VISIBLE: 7, HELD: 100}), always(queue={VISIBLE: 0, HELD: 100})
    ),
    "RejectShare": Scenario(
        always(BUSY | {metrics.REJECTS: {"corrupt": 24}}),
        always(BUSY | {metrics.REJECTS: {"corrupt": 20, "empty": 10}}),
    ),
    "PendingGrowing": Scenario(always(), grows),
    "RefitOverdue": says(metrics.MATRIX_BEHIND, 3601, 3600),
    "WorkerDeaths": says(metrics.WORKER_DEATHS, 1),
    "ReconciliationFindings": says(metrics.FINDINGS, 1, 0),
    "MemoryHigh": says(metrics.MEMORY_USED, 91, 89),
    "DiskFull": says(metrics.DISK_USED, 86, 84),
    "DeadService": Scenario(always(), always({})),
    "InstanceStatus": Scenario(
        always(machine={"StatusCheckFailed": 0}), always(machine={"StatusCheckFailed": 1})
    ),
    "InstanceRecovery": Scenario(
        always(machine={"StatusCheckFailed_System": 0}),
        always(machine={"StatusCheckFailed_System": 1}),
    ),
    "CpuCredits": Scenario(
        always(machine={"CPUCreditBalance": 30}), always(machine={"CPUCreditBalance": 29})
    ),
}
# What is normal elsewhere but for which no alarm may go off.
NORMAL = {
    "an idle queue, of which SQS measures nothing": always(),
    "photos that come as fast as they are handled": always(BUSY, queue={VISIBLE: 9, HELD: 99}),
    "few photos, all of them bad": lambda minute: Minute(
        ALIVE | ({metrics.REJECTS: {"corrupt": 1}, metrics.HANDLED: 1} if minute % 60 < 19 else {})
    ),
    "fewer photos that wait from hour to hour": lambda minute: Minute(
        ALIVE | {metrics.PENDING: 5000 - minute}
    ),
}


def stack_of(**instance: Any) -> Stack:
    kind = Instance(**{"type": "t3.xlarge"} | instance)
    return unique_stack(instance=kind, alarms=Alarms(oldest_seconds=1800, reject_share=0.2))


def resolved(value: Any) -> Any:
    """As CloudFormation would: references and pseudo parameters filled in."""
    if isinstance(value, dict) and "Ref" in value:
        return INSTANCE if value["Ref"] == "Instance" else f"arn:aws:sns:eu-west-1:1:{value['Ref']}"
    if isinstance(value, dict):
        return {name: resolved(each) for name, each in value.items()}
    if isinstance(value, list):
        return [resolved(each) for each in value]
    pseudo = {"${AWS::Partition}": "aws", "${AWS::Region}": "eu-west-1"}
    for name, filled in pseudo.items():
        value = value.replace(name, filled) if isinstance(value, str) else value
    return value


class Watched:
    """A stack whose alarms are in the embedded CloudWatch; its minutes pass as they are fed."""

    def __init__(self, cloudwatch: Any, stack: Stack) -> None:
        self._cloudwatch = cloudwatch
        self._stack = stack
        self._minutes = 0
        self._machine = f"i-{uuid.uuid4().hex[:17]}"
        self.alarms = {}
        for each in alarms.alarms(stack):
            properties = resolved(each.resource(stack)["Properties"])
            text = json.dumps(properties).replace(INSTANCE, self._machine)
            cloudwatch.put_metric_alarm(**json.loads(text))
            self.alarms[each.name] = properties["AlarmName"]

    def pass_(self, minutes: int, what: Callable[[int], Minute], step: int) -> None:
        """Let minutes pass, with data every ``step`` of them."""
        data: dict[str, list[dict[str, Any]]] = {}
        for number in range(self._minutes, self._minutes + minutes, step):
            at = BEGIN + timedelta(minutes=number)
            minute = what(number)
            for document in documents(self._stack.queue, minute.said, at):
                for namespace, some in emf.metric_data(document).items():
                    data.setdefault(namespace, []).extend(some)
            for name, value, measured in (
                ("QueueName", self._stack.queue, minute.queue),
                ("QueueName", self._stack.dead_letter_queue, minute.dead),
                ("InstanceId", self._machine, minute.machine),
            ):
                namespace = "AWS/EC2" if name == "InstanceId" else "AWS/SQS"
                data.setdefault(namespace, []).extend(
                    {
                        "MetricName": metric,
                        "Dimensions": [{"Name": name, "Value": value}],
                        "Timestamp": at,
                        "Value": each,
                    }
                    for metric, each in measured.items()
                )
        for namespace, some in data.items():
            for start in range(0, len(some), 1000):
                self._cloudwatch.put_metric_data(
                    Namespace=namespace, MetricData=some[start : start + 1000]
                )
        self._minutes += minutes

    def state(self, name: str) -> str:
        """The state of an alarm as of now; noted in CloudWatch, too."""
        full = self.alarms[name]
        (alarm,) = self._cloudwatch.describe_alarms(AlarmNames=[full])["MetricAlarms"]
        found = state(self._cloudwatch, alarm, BEGIN + timedelta(minutes=self._minutes))
        self._cloudwatch.set_alarm_state(AlarmName=full, StateValue=found, StateReason="test")
        return found


@pytest.fixture(scope="module")
def cloudwatch(aws: EmbeddedAws) -> Iterator[Any]:
    client = boto3.client("cloudwatch")
    yield client
    client.close()


def alarm_named(name: str, stack: Stack) -> alarms.Alarm:
    return next(each for each in alarms.alarms(stack) if each.name == name)


def period_minutes(alarm: alarms.Alarm) -> int:
    return int(max(q.get("Period") or q["MetricStat"]["Period"] for q in alarm.queries) // 60)


@pytest.mark.parametrize("name", [each.name for each in alarms.alarms(stack_of())])
def test_an_alarm_goes_off_and_back_but_not_at_a_blip(cloudwatch: Any, name: str) -> None:
    stack = stack_of()
    watched, alarm, scenario = Watched(cloudwatch, stack), alarm_named(name, stack), SCENARIOS[name]
    period = period_minutes(alarm)
    window, step = period * (alarm.of + MORE), max(1, period // 5)
    watched.pass_(window, scenario.well, step)
    assert watched.state(name) == "OK"
    blip = period * (alarm.most - 1)
    watched.pass_(blip, scenario.wrong, step)
    assert watched.state(name) == "OK"
    watched.pass_(window - blip, scenario.wrong, step)
    assert watched.state(name) == "ALARM"
    watched.pass_(window, scenario.well, step)
    assert watched.state(name) == "OK"


def test_no_alarm_goes_off_where_all_is_normal(cloudwatch: Any) -> None:
    for what in NORMAL.values():
        watched = Watched(cloudwatch, stack_of())
        watched.pass_(5 * 60, what, 10)
        watched.pass_(60, what, 1)
        states = {name: watched.state(name) for name in watched.alarms}
        assert "ALARM" not in states.values(), states


def test_silence_is_death_and_nothing_else(cloudwatch: Any) -> None:
    """Of a service, that is: SQS' own metrics go on, so a backlog shows without it."""
    watched = Watched(cloudwatch, stack_of())
    watched.pass_(6 * 60, lambda _: Minute({}, queue={VISIBLE: 5, OLDEST: 5000}), 2)
    off = {name for name in watched.alarms if watched.state(name) == "ALARM"}
    assert off == {"DeadService", "OldestMessage"}


def test_a_service_that_takes_no_messages_makes_no_progress(cloudwatch: Any) -> None:
    """Of messages in flight SQS has no metric while there are none."""
    watched = Watched(cloudwatch, stack_of())
    watched.pass_(30, always(queue={VISIBLE: 5}), 1)
    assert watched.state("NoProgress") == "ALARM"


def test_the_light_is_lit_by_each_alarm() -> None:
    stack = stack_of()
    rule = str(alarms.resources(stack)["AlarmFruits"]["Properties"]["AlarmRule"])
    found = alarms.alarms(stack)
    ok = {f"${{{each.logical_id}}}": "OK" for each in found}
    assert composite_state(rule, ok) == "OK"
    for each in found:
        assert composite_state(rule, ok | {f"${{{each.logical_id}}}": "ALARM"}) == "ALARM"


def test_each_alarm_notifies_and_names_its_section() -> None:
    for each in alarms.alarms(stack_of()):
        properties = each.resource(stack_of())["Properties"]
        assert properties["AlarmActions"] == properties["OKActions"]
        assert properties["OKActions"] == [{"Ref": "AlarmTopic"}]
        assert f"docs/operations.md#{each.anchor}" in properties["AlarmDescription"]


def test_without_an_instance_nothing_is_about_one() -> None:
    without = alarms.resources(stack_of(type=""))
    assert "Instance" not in json.dumps(without)
    missing = alarms.resources(stack_of()).keys() - without.keys()
    assert missing == {
        f"Alarm{name}"
        for name in ("DeadService", "InstanceStatus", "InstanceRecovery", "CpuCredits")
    }


@pytest.mark.parametrize("kind", ["c7a.large", "trn1.2xlarge"])
def test_only_burstable_instances_have_credits(kind: str) -> None:
    assert "AlarmCpuCredits" not in alarms.resources(stack_of(type=kind))


def test_unlimited_credits_alarm_when_they_are_charged(cloudwatch: Any) -> None:
    watched = Watched(cloudwatch, stack_of(cpu_credits="unlimited"))
    name = "CPUSurplusCreditsCharged"
    watched.pass_(40, always(machine={name: 0, "CPUCreditBalance": 0}), 1)
    assert watched.state("CpuCredits") == "OK"
    watched.pass_(40, always(machine={name: 5}), 1)
    assert watched.state("CpuCredits") == "ALARM"


def test_the_dead_service_is_watched_once_there_is_an_instance() -> None:
    made = alarms.resources(stack_of())["AlarmDeadService"]
    assert made["DependsOn"] == ["Instance"]
    assert made["Properties"]["TreatMissingData"] == "breaching"


def test_an_alarm_does_nothing_but_announce() -> None:
    """EC2's actions need a role of CloudWatch's, and are refused for many types of instances."""
    for made in alarms.resources(stack_of()).values():
        assert made["Properties"].get("AlarmActions", []) in ([], [{"Ref": "AlarmTopic"}])
