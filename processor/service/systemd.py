"""Systemd: what it is told of the service's state, see sd_notify(3). Without it, nothing happens."""

import logging
import os
import socket

log = logging.getLogger(__name__)

TELL_SECONDS = 1.0  # for systemd to take what it is told


def tell(*states: str) -> None:
    """Send the states, ``READY=1`` for instance, if systemd, or whoever started us, wants to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(TELL_SECONDS)
                sender.sendto("\n".join(states).encode(), address.replace("@", "\0", 1))
        except OSError as error:
            log.debug("systemd was not told %s: %s", states, error)


def more_time(seconds: float) -> str:
    """The state that has systemd wait at least so long from now, for the start or the stop to end."""
    return f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}"
