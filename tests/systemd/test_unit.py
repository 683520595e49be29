"""The unit: what systemd itself says of it, and what has to fit the service."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from common.config import load

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "systemd" / "fruits.service"
ANALYZE = shutil.which("systemd-analyze")
EXPOSURE = 1.5
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def settings(file: Path = UNIT) -> dict[str, list[str]]:
    """All values of each key."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in file.read_text().splitlines():
        if (match := re.fullmatch(r"(\w+)=(.*)", line)) is not None:
            found[match[1]].append(match[2])
    return found


def seconds(text: str) -> int:
    match = re.fullmatch(r"(\d+)(s|min|h|d)", text)
    assert match
    return int(match[1]) * {"s": 1, "min": 60, "h": 3_600, "d": 86_400}[match[2]]


def analyzed(*words: str) -> str:
    assert ANALYZE
    done = subprocess.run(
        [ANALYZE, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return done.stdout


@needs_systemd
def test_systemd_has_nothing_to_say_of_it(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name  # where its program exists
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
    assert analyzed("verify", str(copy)) == ""


@needs_systemd
def test_it_is_confined() -> None:
    table = analyzed("security", "--offline=yes", "--no-pager", str(UNIT))
    found = re.search(r"exposure level for \S+: ([\d.]+)", table)
    assert found, table
    assert float(found[1]) <= EXPOSURE


def test_it_may_take_as_long_to_stop_as_the_service_does() -> None:
    grace = load(environment={}).service.stop_grace_seconds
    assert seconds(settings()["TimeoutStopSec"][0]) > 2 * grace + 60


def test_what_the_service_needs_is_not_taken_away() -> None:
    """The JVM and the compiled engine make code; HEIC's decoder makes a sandbox of its own."""
    found = settings()
    assert not {"MemoryDenyWriteExecute", "NoExecPaths", "PrivateNetwork"} & found.keys()
    allowed = found["SystemCallFilter"][0].split()
    assert {"@system-service", "seccomp"} <= set(allowed)
    assert found["RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6"]


def test_its_folders_are_those_of_the_settings() -> None:
    found = settings()
    assert f"FRUITS_SERVICE__WORK_DIR=/var/lib/{found['StateDirectory'][0]}" in str(found)
    assert f"FRUITS_SERVICE__CACHE_DIR=/var/cache/{found['CacheDirectory'][0]}" in str(found)


def test_it_is_not_started_again_after_a_clean_end() -> None:
    """Such as that on a spot instance which is about to be taken back."""
    assert settings()["Restart"] == ["on-failure"]


def test_starts_that_fail_at_once_are_given_up_with_either_backoff() -> None:
    unit, backoff = settings(), settings(UNIT.parent / "backoff.conf")
    for found, delay in ((unit, unit["RestartSec"]), (backoff, backoff["RestartMaxDelaySec"])):
        failing = (seconds(delay[0]) + 5) * int(found["StartLimitBurst"][0])
        assert 5 * 3_600 < failing < seconds(found["StartLimitIntervalSec"][0])
