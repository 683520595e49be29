"""A refit that kills its own process: ``python -m tests.support.killed_refit STORE WHAT CALL WHEN``.

It does so with SIGKILL, before or after (WHEN) the CALLth call of the function WHAT. Its tasks run in
this process instead of Spark's workers, so that it can also die at a step inside them.
"""

import functools
import importlib
import itertools
import os
import signal
import sys

from common.layout import StoreLayout
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from tests.support.in_process import InThisProcess


def arm(what: str, call: str, when: str) -> None:
    """From now on the process dies in that call."""
    name, _, path = what.partition(":")
    *owners, attribute = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(name))
    original = getattr(owner, attribute)
    calls = itertools.count(1)

    def deadly(*arguments, **named):
        last = next(calls) == int(call)
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **named)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, attribute, deadly)


def main(store: str, *killed: str) -> None:
    arm(*killed)
    matrix = Matrix(StoreLayout(store), RefitPolicy(components=3), InThisProcess())
    matrix.update(force=True)
    matrix.export()


if __name__ == "__main__":
    main(*sys.argv[1:])
