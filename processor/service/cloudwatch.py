"""CloudWatch: every line of the log is sent there as well, when enabled.

CloudWatch may lose lines when it cannot be reached, and never slows or stops the service; stdout
always has every line.
"""

import logging

import boto3
import watchtower
from botocore.config import Config

from common.logs import JsonFormatter

CLOUDWATCH_GOODBYE_SECONDS = 5


def to_cloudwatch(group: str) -> None:
    """Send every line to the CloudWatch log group as well, stream ``machine/process id``."""
    client = boto3.client(
        "logs", config=Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
    )
    handler = watchtower.CloudWatchLogHandler(
        log_group_name=group,
        log_stream_name="{machine_name}/{process_id}",
        boto3_client=client,
        send_interval=5,
        create_log_group=False,  # made by `python -m infra_scripts deploy`, with its retention
    )
    handler.FLUSH_TIMEOUT = CLOUDWATCH_GOODBYE_SECONDS
    handler.setFormatter(JsonFormatter())
    handler.addFilter(lambda record: not record.name.startswith(("botocore", "urllib3")))
    logging.getLogger().addHandler(handler)
