"""Kills: the ways in which a running service is struck."""

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.soak.services import Supervised

STOPPED_SECONDS = 13.0  # longer than the visibility timeout

PLANNER = "python_streaming_source_runner"
WORKER = "pyspark.daemon"


def tree(service: Supervised) -> bool:
    """Every process, by SIGKILL."""
    return _send(service.family(), signal.SIGKILL)


def driver(service: Supervised) -> bool:
    """The Python process that was started; the others have to see it."""
    return _send(service.family()[:1], signal.SIGKILL)


def jvm(service: Supervised) -> bool:
    return _send(_named(service, lambda words: words[0].endswith("java")), signal.SIGKILL)


def worker(service: Supervised) -> bool:
    """One of the Python processes that Spark's daemons start, or one of the daemons."""
    found = _named(service, lambda words: WORKER in words)
    return _send(random.sample(found, min(1, len(found))), signal.SIGKILL)


def planner(service: Supervised) -> bool:
    """The process that reads the queue."""
    found = _named(service, lambda words: any(PLANNER in word for word in words))
    return _send(found, signal.SIGKILL)


def stop(service: Supervised) -> bool:
    """SIGSTOP of all, then SIGCONT when their messages are somebody else's."""
    family = service.family()
    done = _send(family, signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    _send(family, signal.SIGCONT)
    return done


def stop_and_kill(service: Supervised) -> bool:
    """As before, but SIGKILL."""
    family = service.family()
    done = _send(family, signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    _send(family, signal.SIGKILL)
    return done


def sigterm(service: Supervised) -> bool:
    return _send(service.family()[:1], signal.SIGTERM)


def work_dir(service: Supervised) -> bool:
    """``rm -rf`` of its working directory."""
    found = service.work_dir.exists()
    service.delete_work_dir()
    return found


KILLS: dict[str, Callable[[Supervised], bool]] = {
    each.__name__.replace("_", " "): each
    for each in (tree, driver, jvm, worker, planner, stop, stop_and_kill, sigterm, work_dir)
}
EXPIRED = "expired token"  # done by the proxy, to the credentials
LASTING = {"stop", "worker"}  # after which a service may run on


def _named(service: Supervised, wanted: Callable[[list[str]], bool]) -> list[psutil.Process]:
    found = []
    for each in service.family():
        with suppress(psutil.Error):
            if (words := each.cmdline()) and wanted(words):
                found.append(each)
    return found


def _send(processes: list[psutil.Process], number: int) -> bool:
    """Whether one of them got the signal."""
    sent = 0
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(number)
            sent += 1
    return sent > 0
