"""CloudWatch Logs: every log line sent there as well, without ever slowing or stopping the service."""

import logging

import watchtower

from common import aws
from common.logs import JsonFormatter

GOODBYE_SECONDS = 5  # that the end of the process may wait for the last lines


class _Handler(watchtower.CloudWatchLogHandler):
    """watchtower's handler, which raises where a log call's arguments do not fit its text."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)  # type: ignore[no-untyped-call]
        except Exception:
            self.handleError(record)


def attach(group: str) -> None:
    """Send every line to the log group ``group`` too, as stream ``machine/process id``.

    The group is not created here: ``python -m infra_scripts deploy`` does that, with its retention.
    Lines that CloudWatch does not take are missing there, never on stdout.
    """
    handler = _Handler(
        log_group_name=group,
        log_stream_name="{machine_name}/{process_id}",
        boto3_client=aws.client("logs", read_seconds=5, attempts=2),
        send_interval=5,
        create_log_group=False,
    )
    handler.FLUSH_TIMEOUT = GOODBYE_SECONDS
    handler.setFormatter(JsonFormatter())
    handler.addFilter(lambda record: not record.name.startswith(("botocore", "urllib3")))
    logging.getLogger().addHandler(handler)
