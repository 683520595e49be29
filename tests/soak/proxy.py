"""The proxy between services and AWS, as the soak sees it: ports, orders to stop, faults, counts."""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from tests.soak import proxy_process
from tests.soak.faults import Faults
from tests.soak.proxy_port import HOST

ANSWER_SECONDS = 30.0


class Proxy:
    """A context manager: the proxy's process runs inside it.

    ``on_hit`` is called, in a thread of its own, when a service has come to an armed boundary, with the
    name of its port and the order; its request is held until it returns. ``on_receiving`` is called
    when a port has seen its first ReceiveMessage.
    """

    def __init__(
        self,
        target: str,
        faults: Faults,
        on_hit: Callable[[str, int], object],
        on_receiving: Callable[[str], object],
    ) -> None:
        self._target, self._faults = target, faults
        self._on_hit = on_hit
        self._on_receiving = on_receiving
        self._answers: dict[str, Future[Any]] = {}
        self._sending = threading.Lock()

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=proxy_process.main, args=(self._target, theirs, self._faults), daemon=True
        )
        self._process.start()
        theirs.close()
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def open(self, name: str) -> str:
        """The URL of a new port."""
        return f"http://{HOST}:{self._ask('open', f'opened {name}', name)}"

    def close(self, name: str) -> None:
        """Close a port, and all connections to it."""
        self._tell("close", name)

    def arm(self, order: int, boundary: str, moment: str) -> None:
        """Stop whichever service comes to the boundary next, ``before`` or ``after`` its effect."""
        self._tell("arm", order, boundary, moment)

    def expire(self, name: str) -> None:
        """From now on the credentials of this port's service have expired."""
        self._tell("expire", name)

    def calm(self) -> None:
        """No faults and no stops any more."""
        self._tell("calm")

    def counts(self) -> tuple[int, dict[str, int]]:
        """Requests, and faults by kind."""
        found: tuple[int, dict[str, int]] = self._ask("count", "counted")
        return found

    def _ask(self, command: str, answer: str, *arguments: object) -> Any:
        future = self._answers[answer] = Future()
        self._tell(command, *arguments)
        return future.result(ANSWER_SECONDS)

    def _tell(self, *message: object) -> None:
        with self._sending:
            self._pipe.send(message)

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                match self._pipe.recv():
                    case ("opened", name, port):
                        self._answers[f"opened {name}"].set_result(port)
                    case ("counted", calls, kinds):
                        self._answers["counted"].set_result((calls, kinds))
                    case ("receiving", name):
                        self._on_receiving(name)
                    case ("hit", hit, name, order):
                        hold = (hit, name, order)
                        threading.Thread(target=self._hit, args=hold, daemon=True).start()

    def _hit(self, hit: int, name: str, order: int) -> None:
        try:
            self._on_hit(name, order)
        finally:
            with suppress(OSError):
                self._tell("release", hit)
