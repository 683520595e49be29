"""The saved queries: what operators ask the log, in CloudWatch Logs Insights' language.

Their fields are those of the service's log lines, see docs/logs.md.
"""

from dataclasses import dataclass

from infra_scripts.stack import Stack
from infra_scripts.template.resource import Resource, ref, resource

KEY = "photos/KEY"  # what an operator replaces by a photo's key


@dataclass(frozen=True, slots=True)
class Query:
    """One question, by the name under which it is saved, and the query that answers it."""

    name: str
    question: str
    text: str

    @property
    def logical_id(self) -> str:
        """Of its resource in the template."""
        return f"Query{''.join(word.capitalize() for word in self.name.split('-'))}"


QUERIES = (
    Query(
        "photo",
        f"What happened to a photo? Replace {KEY} by its key.",
        "fields @timestamp, level, message, reason, detail, version, batch\n"
        f'| filter key = "{KEY}"\n'
        "| sort @timestamp desc\n"
        "| limit 200",
    ),
    Query(
        "failures",
        "What failed, and why?",
        'filter level in ["WARNING", "ERROR"]\n'
        "| fields coalesce(repeats, 1) as lines\n"
        "| stats sum(lines) as times, count_distinct(key) as photos, max(@timestamp) as last\n"
        "  by level, message, reason\n"
        "| sort times desc\n"
        "| limit 100",
    ),
    Query(
        "keeping-up",
        "Is it keeping up? Photos a second, the longest from upload to row, and messages that wait.",
        'filter message = "micro-batch durable"\n'
        "| stats sum(photos) / 300 as photos_per_second, max(lag_max_seconds) as lag_seconds,\n"
        "  max(backlog) as messages, sum(rejected) as rejects, sum(pending) as waits by bin(5m)",
    ),
    Query(
        "restarts",
        "Why did it end, and what was logged around its last starts? One stream is one process.",
        "fields @timestamp, @logStream, level, message, exception\n"
        '| filter level = "ERROR" or message in ["service started", "stopping", "service stopped"]\n'
        "  or message like /^the query ended/\n"
        "| sort @timestamp desc\n"
        "| limit 200",
    ),
    Query(
        "slowest",
        "Which micro-batches and refits took longest, and in which step?",
        "fields @timestamp, message, batch, photos, seconds, durationMs.triggerExecution,\n"
        "  durationMs.addBatch, durationMs.latestOffset, durationMs.walCommit, reason\n"
        '| filter message in ["micro-batch durable", "fitted a PCA", "wrote reduced.csv", '
        '"wrote the report"]\n'
        "| sort seconds desc\n"
        "| limit 25",
    ),
)


def resources(stack: Stack) -> dict[str, Resource]:
    """The queries as resources, named ``fruits/QUEUE/QUERY``: the console shows folders."""
    return {
        each.logical_id: resource(
            "AWS::Logs::QueryDefinition",
            each.question,
            {
                "Name": f"fruits/{stack.queue}/{each.name}",
                "QueryString": f"# {each.question}\n{each.text}",
                "LogGroupNames": [ref("LogGroup")],
            },
        )
        for each in QUERIES
    }
