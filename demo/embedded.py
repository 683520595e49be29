"""The AWS of the demo: embedded, with the stack deployed into it as it would be into AWS."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from common import aws
from common.config import load
from infra_scripts import deployment
from infra_scripts.assembly import stack_of
from infra_scripts.clients import Clients
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.stack import Instance


@contextmanager
def deployed() -> Iterator[EmbeddedAws]:
    """The embedded AWS with bucket, queue and notifications as the configuration describes them.

    Inside, the environment of this process and its children points at it and nowhere else. On exit
    the environment is as before and everything in the embedded AWS is lost. Raises
    :class:`common.config.ConfigError` and :class:`infra_scripts.errors.InfraError`.
    """
    before = dict(os.environ)
    with EmbeddedAws() as embedded:
        try:
            _set(embedded.over(before))
            with closing(Clients.connect()) as clients:
                stack = replace(stack_of(load()), instance=Instance())  # this machine runs it
                deployment.deploy(clients, stack, clients.place(), say=_quiet)
            yield embedded
        finally:
            _set(before)


def _quiet(_line: str) -> None:
    """The demo shows its own progress."""


def _set(environment: dict[str, str]) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    aws.forget()
