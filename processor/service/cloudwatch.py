"""CloudWatch Logs: every log line is sent there too, without ever slowing or stopping the service."""

import logging

import watchtower

from common import aws
from common.log_lines import JsonFormatter

FLUSH_SECONDS = 5  # the longest that the process waits for the last lines when it ends


class _Handler(watchtower.CloudWatchLogHandler):
    """watchtower's handler, which raises where a log call's arguments do not fit its text."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)  # type: ignore[no-untyped-call]
        except Exception:
            self.handleError(record)


def attach(group: str) -> None:
    """Also send every line to the log group ``group``, as stream ``machine/process id``.

    The group is not created here: ``python -m infra_scripts deploy`` does that, with its retention.
    Delivery is best effort: lines that CloudWatch does not accept are lost there, never on stdout.
    """
    handler = _Handler(
        log_group_name=group,
        log_stream_name="{machine_name}/{process_id}",
        boto3_client=aws.client("logs", read_seconds=5, attempts=2),
        send_interval=5,
        create_log_group=False,
    )
    handler.FLUSH_TIMEOUT = FLUSH_SECONDS
    handler.setFormatter(JsonFormatter())
    handler.addFilter(lambda record: not record.name.startswith(("botocore", "urllib3")))
    logging.getLogger().addHandler(handler)
