"""The interruption of a spot instance: AWS announces it two minutes ahead, in the instance's metadata.

The notice is looked up every few seconds, as AWS recommends, by a request that stays on the host. On
machines that are not instances of EC2 there is no such metadata: a few attempts find that out, and no
more are made.
A mere recommendation to rebalance is left alone, because nothing may ever come of it.
"""

import http.client
import json
import logging
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
ANSWER_SECONDS = 2.0
ATTEMPTS = 3  # to find that there is no metadata; at boot it may come a moment after the service
TOKEN_SECONDS = 21_600  # the longest that a token lives
ADDRESSES = {"ipv4": "http://169.254.169.254", "ipv6": "http://[fd00:ec2::254]"}
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_UNREADABLE = (OSError, ValueError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Notice:
    """What AWS is going to do with this instance, and when (ISO 8601)."""

    action: str  # terminate, stop or hibernate
    time: str


def endpoint() -> str | None:
    """Where the metadata is, by the variables that all AWS tools read; None if they turn it off."""
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    mode = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower()
    given = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    return (given or ADDRESSES.get(mode, ADDRESSES["ipv4"])).rstrip("/")


def watch(stop: Callable[[], object]) -> None:
    """Have a thread call ``stop``, once, when this instance is about to be interrupted."""
    where = endpoint()
    if where is not None:
        arguments = (_Metadata(where), stop)
        threading.Thread(target=_watch, args=arguments, name="interruption", daemon=True).start()


def _watch(metadata: "_Metadata", stop: Callable[[], object]) -> None:
    pause = threading.Event()
    failures = 0
    while True:
        try:
            notice = metadata.notice()
        except _UNREADABLE as error:
            failures += 1
            if not metadata.answered and failures == ATTEMPTS:
                log.debug("there is no instance metadata: %s", error)
                return
        else:
            if notice:
                log.warning(
                    "AWS interrupts this spot instance: %s at %s; stopping",
                    *(notice.action, notice.time),
                )
                stop()
                return
        pause.wait(POLL_SECONDS)


class _Metadata:
    """The instance's metadata, version 2: each request carries a token, which a PUT makes."""

    def __init__(self, address: str) -> None:
        self.answered = False
        self._address = address
        self._token = ""

    def notice(self) -> Notice | None:
        """The notice, if there is one. Raises OSError, ValueError or HTTPException if it is unknown."""
        if not self._token:
            lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
            self._token = self._request("PUT", "api/token", lifetime)
        try:
            answer = self._request(
                "GET",
                "meta-data/spot/instance-action",
                {"X-aws-ec2-metadata-token": self._token},
            )
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                self.answered = True
                return None
            self._token = ""  # it has expired
            raise
        self.answered = True
        found = json.loads(answer)
        if not isinstance(found, dict):
            raise ValueError(f"no notice: {answer}")  # noqa: TRY004
        return Notice(str(found.get("action")), str(found.get("time")))

    def _request(self, method: str, path: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(  # noqa: S310 - the address is http, or the operator's
            f"{self._address}/latest/{path}", method=method, headers=headers
        )
        with _NO_PROXY.open(request, timeout=ANSWER_SECONDS) as answer:
            text: str = answer.read(10_000).decode()
            return text
