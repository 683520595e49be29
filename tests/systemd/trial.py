"""The trial: a service under a real systemd, from its installation to a rollback, with blows between."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

from tests.soak.kills import PLANNER, WORKER
from tests.support.metadata import Metadata
from tests.systemd import release
from tests.systemd.box import UNIT, Box, TrialError
from tests.systemd.photos import Photos, environment_file

Facts = dict[str, object]
Step = Callable[[], Facts]
EXPOSURE = 1.5  # the most that systemd-analyze may find
QUICKER = """[Service]
WatchdogSec=15s
TimeoutAbortSec=5s
RestartSec=2s
"""
CLEAN = f"""
systemctl stop {UNIT}; systemctl disable {UNIT}; systemctl reset-failed {UNIT}
rm -rf /etc/systemd/system/{UNIT} /etc/systemd/system/{UNIT}.d
rm -rf /opt/fruits/{{releases,current,previous}} /etc/fruits /var/lib/fruits /var/cache/fruits
userdel fruits
systemctl daemon-reload
"""


SHORT = (  # the steps of a trial for which there are five minutes
    "installed, and ready",
    "the unit is confined",
    "photos in, rows out",
    "kill -9 of the service",
    "stopped within the grace",
    "nothing lost",
)


class Trial:
    """The steps, in their order; each returns what it found, or raises TrialError."""

    def __init__(self, box: Box, folder: Path, photos: Photos, metadata: Metadata) -> None:
        self._box = box
        self._folder = folder
        self._photos = photos
        self._metadata = metadata
        self._installed = ""

    @property
    def steps(self) -> dict[str, Step]:
        return {
            "installed, and ready": self.install,
            "the unit is confined": self.confined,
            "photos in, rows out": self.photos,
            "kill -9 of the service": self.kill_main,
            "kill -9 of a worker": self.kill_worker,
            "kill -9 of the JVM": self.kill_jvm,
            "a stopped process tree, which systemd's watchdog ends": self.stop_all,
            "a stopped planner, which the service's own watchdog ends": self.stop_planner,
            "stopped within the grace": self.stop,
            "a spot interruption notice": self.interrupt,
            "a reboot": self.reboot,
            "installed once more": self.install_again,
            "an upgrade": self.upgrade,
            "an upgrade that fails and goes back": self.fail_to_upgrade,
            "a rollback": self.roll_back,
            "nothing lost": self.nothing_lost,
        }

    def prepare(self, settings: dict[str, str], *, reuse: bool) -> None:
        """The releases, and a box without traces of an earlier trial, but for packages if ``reuse``."""
        release.write(self._folder / "first")
        release.write_changed(self._folder / "second")
        release.write_broken(self._folder / "broken")
        (self._folder / "environment").write_text(environment_file(settings))
        (self._folder / "quicker.conf").write_text(QUICKER)
        self._box.sh(CLEAN if reuse else f"{CLEAN}rm -rf /opt/fruits", check=False)
        self._box.sh(
            "mkdir -p /etc/fruits && cp /mnt/trial/environment /etc/fruits/ && "
            f"install -D -m 644 /mnt/trial/quicker.conf /etc/systemd/system/{UNIT}.d/trial.conf"
        )

    def install(self) -> Facts:
        began = time.monotonic()
        self._expect(self._box.install("first"), 0, "is running")
        seconds = time.monotonic() - began
        self._installed = self._current()
        if not self._box.is_active:
            raise TrialError("install.sh succeeded, but the service is not active")
        return {"seconds": round(seconds, 1), "release": self._installed}

    def confined(self) -> Facts:
        unit = f"/etc/systemd/system/{UNIT}"
        if said := self._box.sh(f"systemd-analyze verify {unit}"):
            raise TrialError(f"systemd-analyze verify: {said}")
        table = self._box.sh(f"systemd-analyze security --offline=yes --no-pager {unit}")
        found = re.search(r"exposure level for \S+: ([\d.]+)", table)
        if not found or float(found[1]) > EXPOSURE:
            raise TrialError(f"the exposure is not {EXPOSURE} or less: {table[-500:]}")
        return {"exposure": float(found[1])}

    def photos(self) -> Facts:
        self._photos.put(20)
        self._photos.put_heic()
        seconds = self._stored()
        # The compiled engine maps its code from memory, and its weights from the cache.
        mapped = "".join(
            self._box.sh(f"grep -E ' r-xp .*memfd:|[.]winograd$' /proc/{each}/maps", check=False)
            for each in self._box.processes(WORKER)
        )
        if "memfd:" not in mapped or "/var/cache/fruits/" not in mapped:
            raise TrialError("no worker of the service has the compiled engine mapped")
        decoders = self._box.processes("photos.heic_child")
        if not decoders:
            raise TrialError("no worker of the service has a decoder of HEIC")
        return {
            "seconds": round(seconds, 1),
            "photos": len(self._photos.live()),
            "engine": "winograd",
            "heic_decoders": len(decoders),
        }

    def kill_main(self) -> Facts:
        return self._struck(f"systemctl kill -s KILL --kill-who=main {UNIT}", restarts=1)

    def kill_worker(self) -> Facts:
        worker = self._one(WORKER, last=True)
        return self._struck(f"kill -9 {worker}", restarts=0)

    def kill_jvm(self) -> Facts:
        return self._struck(f"kill -9 {self._one('^[^ ]*java ')}", restarts=1)

    def stop_all(self) -> Facts:
        facts = self._struck(f"systemctl kill -s STOP --kill-who=all {UNIT}", restarts=1)
        return {**facts, **self._logged("Watchdog timeout")}

    def stop_planner(self) -> Facts:
        facts = self._struck(f"kill -STOP {self._one(PLANNER)}", restarts=1)
        return {**facts, **self._logged("no progress for")}

    def stop(self) -> Facts:
        self._photos.put(10)
        time.sleep(1)
        began = time.monotonic()
        self._box.sh(f"systemctl stop {UNIT}", seconds=200)
        seconds = time.monotonic() - began
        if (found := self._box.show("Result")) != "success":
            raise TrialError(f"the service was stopped with the result {found}")
        self._box.sh(f"systemctl start {UNIT}", seconds=200)
        return {"stop_seconds": round(seconds, 1), "stored_seconds": round(self._stored(), 1)}

    def interrupt(self) -> Facts:
        self._photos.put(5)
        self._metadata.notice = {"action": "terminate", "time": "2030-01-01T00:00:00Z"}
        try:
            inactive = self._box.wait(
                "inactive", lambda: self._box.show("ActiveState") == "inactive"
            )
            time.sleep(5)  # longer than RestartSec=
            state = self._box.show("ActiveState"), self._box.show("Result")
            if state != ("inactive", "success"):
                raise TrialError(f"after a notice the service is {state}")
        finally:
            self._metadata.notice = None
        logged = self._logged("AWS interrupts this spot instance")
        self._box.sh(f"systemctl start {UNIT}", seconds=200)
        self._stored()
        return {"seconds": round(inactive, 1), **logged}

    def reboot(self) -> Facts:
        self._box.down()
        self._photos.put(5)
        began = time.monotonic()
        self._box.up()
        self._box.wait("active after the reboot", lambda: self._box.is_active)
        seconds = time.monotonic() - began
        self._stored()
        return {"seconds": round(seconds, 1)}

    def install_again(self) -> Facts:
        began = time.monotonic()
        before = self._box.show("InvocationID")
        self._expect(self._box.install("first"), 0, "is installed already")
        if self._box.show("InvocationID") != before:
            raise TrialError("the service was started again by an install.sh with nothing to do")
        return {"seconds": round(time.monotonic() - began, 1)}

    def upgrade(self) -> Facts:
        self._photos.put(5)
        began = time.monotonic()
        self._expect(self._box.install("second"), 0, "is running")
        seconds = time.monotonic() - began
        if self._current() == self._installed or self._current("previous") != self._installed:
            raise TrialError("an upgrade left current or previous wrong")
        self._stored()
        return {"seconds": round(seconds, 1), "release": self._current()}

    def fail_to_upgrade(self) -> Facts:
        self._photos.put(5)
        before = self._current()
        done = self._box.install("broken")
        self._expect(done, 1, "is running again")
        if "this release is broken" not in done.stdout:
            raise TrialError(f"install.sh did not say why: {done.stdout[-1000:]}")
        if self._current() != before or not self._box.is_active:
            raise TrialError("after an upgrade that failed, the old release does not run")
        self._stored()
        return {"said": done.stdout.strip().splitlines()[-1]}

    def roll_back(self) -> Facts:
        self._photos.put(5)
        done = self._box.install("second", "--rollback")
        self._expect(done, 0, "is running")
        if self._current() != self._installed:
            raise TrialError(f"the rollback led to {self._current()}, not {self._installed}")
        self._stored()
        return {"said": done.stdout.strip().splitlines()[-1]}

    def nothing_lost(self) -> Facts:
        self._box.wait("the matrix is whole", lambda: self._photos.matrix_fault() is None, 60)
        status = json.loads(self._box.sh("fruits status --json"))
        if faults := self._photos.differences() + self._photos.rests():
            raise TrialError("; ".join(faults))
        return {name: status[name] for name in ("photos", "rejects", "queue", "reduced")}

    def _struck(self, blow: str, *, restarts: int) -> Facts:
        """The blow falls while photos come; then all are stored, after so many restarts."""
        wanted = self._box.restarts + restarts
        self._photos.put(5)
        time.sleep(1)
        self._box.sh(blow)
        self._photos.put(5)
        if restarts:
            self._box.wait("restarted", lambda: self._box.restarts >= wanted)
        seconds = self._stored()
        self._box.wait("active", lambda: self._box.is_active)
        if (found := self._box.restarts) != wanted:
            raise TrialError(f"{found} restarts, not {wanted}")
        return {"stored_seconds": round(seconds, 1)}

    def _stored(self) -> float:
        try:
            return self._box.wait("the tables are the bucket", self._photos.is_stored, 150)
        except TrialError as error:
            raise TrialError(f"{error}: {'; '.join(self._photos.differences()[:5])}") from error

    def _logged(self, text: str) -> Facts:
        line = next((each for each in self._box.journal().splitlines() if text in each), None)
        if line is None:
            raise TrialError(f"the journal does not say {text!r}")
        return {"journal": line[:300]}

    def _one(self, pattern: str, *, last: bool = False) -> int:
        found = self._box.processes(pattern)
        if not found:
            raise TrialError(f"the service has no process {pattern!r}")
        return found[-1 if last else 0]

    def _current(self, link: str = "current") -> str:
        return Path(self._box.sh(f"readlink /opt/fruits/{link}")).name

    @staticmethod
    def _expect(done, status: int, text: str) -> None:
        if done.returncode != status or text not in done.stdout:
            raise TrialError(
                f"install.sh ended with status {done.returncode}: {done.stdout.strip()[-2500:]}"
            )
