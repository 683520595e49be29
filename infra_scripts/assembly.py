"""From the configuration to the values that this package works with."""

import json
from typing import TYPE_CHECKING

from infra_scripts import release
from infra_scripts.stack import Alarms, Instance, Stack
from infra_scripts.template.document import Document, document

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


def settings_of(config: "Config") -> str:
    """The configuration as a ``config.toml``: every setting with the value that is in effect here.

    So an instance gets what the environment has overridden where it was deployed from.
    """
    lines = [
        "# Made by `python -m infra_scripts deploy`; the config.toml of the code explains each setting."
    ]
    for section, values in config.model_dump(mode="json").items():
        lines += [
            "",
            f"[{section}]",
            *(f"{name} = {_toml(value)}" for name, value in values.items()),
        ]
    return "\n".join([*lines, ""])


def _toml(value: object) -> str:
    """Strings, numbers and booleans are written as in JSON; an emoji must not become two escapes."""
    return json.dumps(value, ensure_ascii=False)


def archive_of(config: "Config") -> release.Archive | None:
    """What the instance installs; None where there is no instance.

    Raises :class:`infra_scripts.errors.StackError` for code that is not complete.
    """
    if not config.instance.type:
        return None
    return release.pack(stack_of(config), settings_of(config))


def template_of(config: "Config", *, new_bucket: bool) -> Document:
    """The template that ``deploy`` would use, for this code and these settings.

    Raises :class:`infra_scripts.errors.StackError` for names that cannot work together, or where the
    code is not complete.
    """
    archive = archive_of(config)
    return document(
        stack_of(config), new_bucket=new_bucket, release=archive.release if archive else None
    )
