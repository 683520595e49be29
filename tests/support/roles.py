"""The roles of a service's processes: what each of those that descend from it is for."""

import contextlib
from collections import defaultdict

import psutil

PLANNER = "python_streaming_source_runner"
DAEMON = "pyspark.daemon"
TASKS = {"1": "workers", "background": "background"}  # FRUITS_TASKS


def family(service: psutil.Process) -> dict[str, list[psutil.Process]]:
    """The living descendants of a service's driver, by role; without those that are just ending."""
    found: dict[str, list[psutil.Process]] = defaultdict(list)
    for each in service.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if each.status() != psutil.STATUS_ZOMBIE:
                found[role(each)].append(each)
    return found


def role(process: psutil.Process) -> str:
    """What a process is for: one of these, or ``other``.

    ``jvm``; ``planner``, which reads the queue; ``daemons``, which fork ``workers``, ``background``
    workers of refits and maintenance, and ``readers`` of the source; ``heic``, the decoders of workers.
    """
    command = " ".join(process.cmdline())
    if "org.apache.spark" in command:
        # Not the script that starts it, nor the Java that composes its command.
        started = process.name() == "java" and "launcher.Main" not in command
        return "jvm" if started else "other"
    if PLANNER in command and DAEMON not in command:
        return "planner"
    if "heic_child" in command:
        return "heic"
    if DAEMON not in command:
        return "other"
    parent = process.parent()
    if parent is None or DAEMON not in parent.cmdline():
        return "daemons"
    return TASKS.get(process.environ().get("FRUITS_TASKS", ""), "readers")
