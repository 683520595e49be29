"""The storm: the kills of a stage, carried out in time, and how soon the services recover from them."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.soak.kills import EXPIRED, KILLS, LASTING
from tests.soak.proxy import Proxy
from tests.soak.schedule import Order
from tests.soak.services import Run, Supervised

HANG_SECONDS = 150.0  # for a service that was struck to end: SIGTERM may take 2 × 5 + 60
LEAST_PAUSE_SECONDS = 3.0
ARMED_AT_ONCE = 6  # boundaries that are waited for


@dataclass
class Record:
    """What the kills were, and what came of them."""

    kinds: Counter[str] = field(default_factory=Counter)
    boundaries: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.kinds.total()


class Storm:
    """Carries out orders on the services. ``say`` gets a line for each kill."""

    def __init__(
        self, orders: Iterator[Order], record: Record, say: Callable[[str], object]
    ) -> None:
        self.record = record
        self._orders = orders
        self._say = say
        self._armed: dict[int, Order] = {}
        self._left_over: list[Order] = []
        self._struck_at: dict[str, float] = {}  # services, from which no ReceiveMessage came since
        self._lock = threading.Lock()
        self._services: dict[str, Supervised] = {}

    def of(self, services: Sequence[Supervised]) -> None:
        self._services = {each.name: each for each in services}

    def blow(self, proxy: Proxy, seconds: float, kills_per_minute: float) -> None:
        """Returns when it is over; boundaries that nothing came to by then are left for the next."""
        deadline = time.monotonic() + seconds
        wanted = self.record.kills + round(seconds / 60 * kills_per_minute)
        turn = 0
        while (rest := deadline - time.monotonic()) > 0:
            left = max(1, wanted - self.record.kills)
            time.sleep(min(rest, max(LEAST_PAUSE_SECONDS, rest / left)))
            if time.monotonic() >= deadline or self.record.kills >= wanted:
                continue
            order = self._next()
            if order.boundary:
                with self._lock:
                    self._armed[order.number] = order
                proxy.arm(order.number, order.boundary, order.moment)
                continue
            turn += 1
            if not self._strike(self._chosen(turn), order, proxy):
                self._left_over.append(order)
        proxy.calm()
        with self._lock:
            self._left_over += self._armed.values()
            self._armed.clear()

    def hit(self, port: str, number: int, proxy: Proxy) -> None:
        """A service has come to an armed boundary."""
        with self._lock:
            order = self._armed.pop(number, None)
        service = self._services.get(port.rpartition("-")[0])
        if order is None or service is None:
            return
        run = service.run
        if not (run and run.name == port and self._strike(service, order, proxy)):
            self._left_over.append(order)  # the request of one that has ended meanwhile

    def receiving(self, port: str) -> None:
        """A run has asked for messages for the first time."""
        service = self._services.get(port.rpartition("-")[0])
        if service and service.note_receiving(port):
            with self._lock:
                struck_at = self._struck_at.pop(service.name, None)
                if struck_at is not None:
                    self.record.recoveries.append(time.monotonic() - struck_at)

    def _next(self) -> Order:
        """Those left over first; no boundary that is armed already, nor too many."""
        waiting = {each.boundary for each in self._armed.values()}
        passed = []
        while True:
            order = self._left_over.pop(0) if self._left_over else next(self._orders)
            full = len(waiting) >= ARMED_AT_ONCE
            if order.boundary and (full or order.boundary in waiting):
                passed.append(order)
                continue
            self._left_over += passed
            return order

    def _chosen(self, turn: int) -> Supervised:
        """In turn, but three times out of four one that is up, if any is."""
        names = sorted(self._services)
        both = [self._services[names[(turn + n) % len(names)]] for n in range(len(names))]
        up = [each for each in both if each.run and each.run.receiving_at]
        return up[0] if up and turn % 4 else both[0]

    def _strike(self, service: Supervised, order: Order, proxy: Proxy) -> bool:
        run = service.run
        if run is None:
            return False
        run.blows.append(order.kind)
        age = time.monotonic() - run.started_at
        if order.kind == EXPIRED:
            proxy.expire(run.name)
        elif not KILLS[order.kind](service):
            run.blows.remove(order.kind)
            return False
        with self._lock:
            self.record.kinds[order.kind] += 1
            self.record.boundaries[order.boundary or "random"] += 1
            if order.kind not in LASTING and run.receiving_at:
                self._struck_at[service.name] = time.monotonic()
        self._say(f"{run.name}, {age:.0f} s old: {order.kind} ({order.place})")
        # A folder that is deleted before it is used is made again.
        if order.kind not in LASTING and (order.kind != "work dir" or run.receiving_at):
            threading.Thread(target=self._see_end, args=(service, run), daemon=True).start()
        return True

    def _see_end(self, service: Supervised, run: Run) -> None:
        """A service that was struck ends by itself, or it hangs, and is killed."""
        deadline = time.monotonic() + HANG_SECONDS
        while service.run is run:
            if time.monotonic() > deadline:
                self.record.hung.append(f"{run.name} runs on after {run.blows}")
                self._say(self.record.hung[-1])
                with suppress(KeyError):
                    KILLS["tree"](service)
                return
            time.sleep(0.5)
