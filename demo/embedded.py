"""The AWS of the demo: embedded, with the stack deployed into it by the code that deploys to AWS."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from common.config import load
from infra_scripts import deployment
from infra_scripts.assembly import stack_of
from infra_scripts.clients import Clients
from infra_scripts.embedded import EmbeddedAws


@contextmanager
def deployed() -> Iterator[EmbeddedAws]:
    """The embedded AWS with bucket, queue and notifications as the configuration has them.

    Inside the context the environment of this process and its children points to it and nowhere
    else; its content is gone when the context is left. Raises :class:`infra_scripts.errors.InfraError`.
    """
    before = dict(os.environ)
    with EmbeddedAws() as aws:
        try:
            _set(aws.over(before))
            clients = Clients.connect()
            deployment.deploy(clients, stack_of(load()), clients.place(), say=lambda _: None)
            clients.close()
            yield aws
        finally:
            _set(before)


def _set(environment: dict[str, str]) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
