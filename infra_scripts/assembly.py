"""From the configuration to the values that this package works with."""

from typing import TYPE_CHECKING

from infra_scripts.stack import Alarms, Instance, Stack

if TYPE_CHECKING:
    from common.config import Config


def stack_of(config: "Config") -> Stack:
    """The stack that the configuration describes.

    Raises :class:`infra_scripts.errors.StackError` for names that cannot work together.
    """
    return Stack(
        layout=config.storage.layout,
        queue=config.queue.name,
        dead_letter_queue=config.queue.dead_letter_name,
        max_receives=config.queue.max_receives,
        visibility_timeout_seconds=config.queue.visibility_timeout_seconds,
        log_group=config.logs.group,
        log_retention_days=config.logs.retention_days,
        weights=config.model.weights,
        instance=Instance(**config.instance.model_dump()),
        alarms=Alarms(**config.alarms.model_dump()),
    )
