"""The alarms: what is wrong, whom to tell, and which section of the runbook says what to do.

Each alarm notifies by itself, when it begins and when it ends. ``Fruits``, one light for all of them,
notifies nobody: lit already, it would say nothing of the second thing that goes wrong.
"""

from common import metrics
from infra_scripts.machines import is_burstable
from infra_scripts.stack import Stack
from infra_scripts.template import alarm_topic
from infra_scripts.template.alarm import (
    DEAD,
    FIVE,
    HOUR,
    MINUTE,
    RUNBOOK,
    UNKNOWN,
    Alarm,
    ec2,
    expression,
    ours,
    sqs,
)
from infra_scripts.template.resource import Resource, resource

IN_FLIGHT = 100_000  # of 120,000, at which SQS hands out no more
LEAST_JUDGED = 20  # photos an hour, below which a share of rejects says nothing
LEAST_PENDING = 100
BEHIND_SECONDS = 3600  # a refit and a rewrite of ten million rows take minutes
FULL_DISK, FULL_MEMORY = 85, 90  # percent
LEAST_CREDITS = 30  # seven minutes of four cores
SILENT_MINUTES = 15  # longer than service.stall_seconds, after which it starts anew by itself


def resources(stack: Stack) -> dict[str, Resource]:
    """Topic, key, alarms and the light for all of them, by logical id.

    Without an instance there are no alarms about EC2, nor one about a service that is not there.
    """
    found = alarms(stack)
    return {
        **alarm_topic.resources(stack),
        **{each.logical_id: each.resource(stack) for each in found},
        "AlarmFruits": _light(stack, found),
    }


def alarms(stack: Stack) -> list[Alarm]:
    """All that the stack should have."""
    found = [*_of_queue(stack), *_of_service(stack)]
    return found + (_of_instance(stack) if stack.instance.type else [])


def _of_queue(stack: Stack) -> list[Alarm]:
    """From SQS' own metrics, which are there whether or not a service is. An idle queue has none."""
    waiting = "(FILL(visible, 0) + FILL(held, 0))"
    return [
        Alarm(
            name="OldestMessage",
            means=f"a message has waited for more than {stack.alarms.oldest_seconds} s",
            queries=(sqs("oldest", "ApproximateAgeOfOldestMessage", stack.queue),),
            limit=stack.alarms.oldest_seconds,
            most=3,
            of=3,
        ),
        Alarm(
            name="DeadLetters",
            means="messages that cannot be processed are in the dead-letter queue",
            queries=(sqs("dead", "ApproximateNumberOfMessagesVisible", stack.dead_letter_queue),),
            limit=0,
            most=2,
            of=2,
        ),
        Alarm(
            name="InFlight",
            means="so many messages are in flight that SQS will soon hand out no more",
            queries=(sqs("flight", "ApproximateNumberOfMessagesNotVisible", stack.queue),),
            limit=IN_FLIGHT,
            most=3,
            of=3,
        ),
        Alarm(
            name="NoProgress",
            means="there are messages, and the service settles none",
            queries=(
                sqs("visible", "ApproximateNumberOfMessagesVisible", stack.queue),
                sqs("held", "ApproximateNumberOfMessagesNotVisible", stack.queue),
                ours("handled", metrics.HANDLED, stack, "Sum"),
                # The service counts a 0 each minute; without any of it, DeadService tells. SQS reports
                # none in flight by no data at all, which would leave the sum without any.
                expression("stuck", f"IF({waiting} > 0 AND handled < 1, 1, 0)", FIVE),
            ),
            limit=0,
            most=3,
            of=3,
        ),
    ]


def _of_service(stack: Stack) -> list[Alarm]:
    """From our own metrics. A service that is dead emits none, for which there is one alarm, not all."""
    share = "IF(rejects + photos >= {least}, rejects / (rejects + photos), 0)"
    return [
        Alarm(
            name="RejectShare",
            means=f"more than {stack.alarms.reject_share:.0%} of an hour's photos were rejected",
            queries=(
                ours("rejects", metrics.REJECTS, stack, "Sum", HOUR),
                ours("photos", metrics.PHOTOS, stack, "Sum", HOUR),
                expression("share", share.format(least=LEAST_JUDGED), HOUR),
            ),
            limit=stack.alarms.reject_share,
            most=1,  # an hour is no blip
            of=1,
        ),
        Alarm(
            name="PendingGrowing",
            means=f"more than {LEAST_PENDING} photos wait to be tried again, and each hour more",
            queries=(
                ours("pending", metrics.PENDING, stack, "Maximum", HOUR),
                expression("grown", f"IF(pending > {LEAST_PENDING}, DIFF(pending), 0)", HOUR),
            ),
            limit=0,
            most=3,
            of=3,
        ),
        Alarm(
            name="RefitOverdue",
            means="the matrix has lacked changes of the features for more than an hour",
            queries=(ours("behind", metrics.MATRIX_BEHIND, stack, "Maximum"),),
            limit=BEHIND_SECONDS,
            most=3,
            of=3,
        ),
        Alarm(
            name="WorkerDeaths",
            means="worker processes die again and again, more often than one bad photo explains",
            queries=(ours("deaths", metrics.WORKER_DEATHS, stack, "Sum"),),
            limit=0,
            most=4,  # a photo that kills its worker is tried three times in the first hour
            of=12,
        ),
        Alarm(
            name="ReconciliationFindings",
            means="bucket and store differed, so events were missed (or the store is new)",
            queries=(ours("found", metrics.FINDINGS, stack, "Sum", HOUR),),
            limit=0,
            most=1,  # there is one number a day
            of=1,
        ),
        Alarm(
            name="MemoryHigh",
            means=f"more than {FULL_MEMORY} % of the memory is in use",
            queries=(ours("memory", metrics.MEMORY_USED, stack, "Average"),),
            limit=FULL_MEMORY,
            most=3,
            of=3,
        ),
        Alarm(
            name="DiskFull",
            means=f"more than {FULL_DISK} % of the disk of service.work_dir is in use",
            queries=(ours("disk", metrics.DISK_USED, stack, "Maximum"),),
            limit=FULL_DISK,
            most=3,
            of=3,
        ),
    ]


def _of_instance(stack: Stack) -> list[Alarm]:
    """About the instance, and the service on it. EC2's metrics may have gaps that mean nothing."""
    found = [
        Alarm(
            name="DeadService",
            means=f"the service has shown no sign of life for {SILENT_MINUTES} minutes",
            queries=(ours("beats", metrics.HEARTBEAT, stack, "Sum", MINUTE),),
            limit=1,
            comparison="LessThanThreshold",
            most=SILENT_MINUTES,
            of=SILENT_MINUTES,
            missing=DEAD,
            awaits_instance=True,
        ),
        Alarm(
            name="InstanceStatus",
            means="the instance fails EC2's status checks",
            queries=(ec2("failed", "StatusCheckFailed", "Maximum", MINUTE),),
            limit=0,
            most=5,
            of=5,
            missing=UNKNOWN,
        ),
        # Without EC2's action "recover": EC2 recovers by itself what it can, and refuses an alarm with
        # that action on any other type, as those with disks of their own.
        Alarm(
            name="InstanceRecovery",
            means="the hardware below the instance fails; EC2 moves the instance to other hardware",
            queries=(ec2("failed", "StatusCheckFailed_System", "Maximum", MINUTE),),
            limit=0,
            most=2,
            of=2,
            missing=UNKNOWN,
        ),
    ]
    if is_burstable(stack.instance.type):
        found.append(_credits(stack))
    return found


def _credits(stack: Stack) -> Alarm:
    """Of T instances only. With ``unlimited`` a balance of 0 slows nothing, but costs."""
    if stack.instance.cpu_credits == "unlimited":
        means = "the instance needs more processor time than it earns, which is charged"
        query = ec2("credits", "CPUSurplusCreditsCharged", "Maximum", FIVE)
        limit, comparison = 0, "GreaterThanThreshold"
    else:
        means = "the instance's CPU credits are used up: it is held to its baseline"
        query = ec2("credits", "CPUCreditBalance", "Minimum", FIVE)
        limit, comparison = LEAST_CREDITS, "LessThanThreshold"
    return Alarm(
        name="CpuCredits",
        means=means,
        queries=(query,),
        limit=limit,
        comparison=comparison,
        most=6,
        of=6,
        missing=UNKNOWN,
    )


def _light(stack: Stack, found: list[Alarm]) -> Resource:
    return resource(
        "AWS::CloudWatch::CompositeAlarm",
        "One light for all alarms, for the dashboard and other tools.",
        {
            "AlarmName": f"{stack.name}-Fruits",
            "AlarmDescription": f"Anything is wrong. What to do: {RUNBOOK}#fruits",
            "AlarmRule": " OR ".join(f'ALARM("${{{each.logical_id}}}")' for each in found),
        },
    )
