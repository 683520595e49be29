"""The box: a machine with a real systemd, booted and entered by the program that SYSTEMD_BOX names."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ROOT.parent / "shared" / "tools" / "systemd-box"
PIP_FILES = (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf")
UNIT = "fruits.service"


class TrialError(AssertionError):
    """A step that failed; one line."""


def program() -> str:
    """The program that boots the box. Raises TrialError if there is none."""
    found = os.environ.get("SYSTEMD_BOX") or str(BESIDE)
    if not shutil.which(found):
        raise TrialError(
            f"{found} cannot be run: set SYSTEMD_BOX to a program that boots a systemd (up, sh, down)"
        )
    return found


class Box:
    """A box in which ``folder`` is /mnt/trial, read-only, and pip works as it does out here."""

    def __init__(self, folder: Path) -> None:
        self._program = program()
        self._binds = [f"--bind-ro={folder}:/mnt/trial"]
        self._pip = {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}
        self._adopt_pip()

    def up(self) -> None:
        self._run("up", "--no-default-binds", *self._binds)

    def down(self, *options: str) -> None:
        self._run("down", *options)

    def sh(self, command: str, *, seconds: float = 120, check: bool = True) -> str:
        """What the command prints, on stderr too. Raises TrialError if ``check`` and it fails."""
        done = self.attempt(command, seconds=seconds)
        if check and done.returncode:
            raise TrialError(f"{command}: status {done.returncode}: {done.stdout.strip()[-3000:]}")
        return done.stdout.strip()

    def attempt(self, command: str, *, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """The command's status and what it printed."""
        return subprocess.run(
            [self._program, "sh", f"exec 2>&1; {command}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )

    def install(self, release: str, *options: str) -> subprocess.CompletedProcess[str]:
        """The install.sh of a release in the trial's folder, with pip as it is out here."""
        variables = " ".join(f"{name}={shlex.quote(text)}" for name, text in self._pip.items())
        words = " ".join(options)
        script = f"/mnt/trial/{release}/infra_scripts/install.sh"
        return self.attempt(f"env {variables} {script} {words}", seconds=590)

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.sh(f"systemctl show -P {name} {UNIT}")

    @property
    def restarts(self) -> int:
        return int(self.show("NRestarts"))

    @property
    def is_active(self) -> bool:
        return self.show("ActiveState") == "active"

    def journal(self) -> str:
        """The end of the unit's journal, long enough for the stacks of all threads."""
        return self.sh(f"journalctl -u {UNIT} -o cat --no-pager -n 5000", check=False)

    def processes(self, pattern: str) -> list[int]:
        """Of the service: those whose command matches, by their ids in the box."""
        found = self.sh(f"pgrep -u fruits -f {shlex.quote(pattern)}", check=False)
        return [int(each) for each in found.split()]

    def wait(self, what: str, done: Callable[[], bool], seconds: float = 120) -> float:
        """Seconds until it is so. Raises TrialError."""
        began = time.monotonic()
        while not done():
            if time.monotonic() - began > seconds:
                raise TrialError(f"after {seconds:.0f} s still not: {what}")
            time.sleep(0.5)
        return time.monotonic() - began

    def _adopt_pip(self) -> None:
        """Bind what pip reads out here at the same place, as far as this is files and folders."""
        texts = list(self._pip.values())
        for file in PIP_FILES:
            if file.is_file():
                texts.append(file.read_text(encoding="utf-8"))
                if "PIP_CONFIG_FILE" not in self._pip:
                    self._pip["PIP_CONFIG_FILE"] = "/mnt/pip.conf"
                    self._binds.append(f"--bind-ro={file}:/mnt/pip.conf")
        for place in sorted({place for text in texts for place in _local(text.split())}):
            self._binds.append(f"--bind-ro={place}")

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            [self._program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=590,
            check=False,
        )
        if done.returncode:
            raise TrialError(f"systemd-box {words[0]}: {done.stdout.strip()[-2000:]}")


def _local(words: Sequence[str]) -> list[str]:
    """The existing files and folders that are named."""
    places = [word.removeprefix("file://") for word in words]
    return [each for each in places if each.startswith("/") and Path(each).exists()]
