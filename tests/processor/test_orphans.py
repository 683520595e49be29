"""Orphans: whichever process of a service is killed, and however, none outlives its driver.

Each test starts the service where the one before was killed, so what that left hinders nobody. How it
ends at rest is in test_endings: there, too, nothing may be left.
"""

import contextlib
import io
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from infra_scripts.embedded import EmbeddedAws
from tests.support.drawn_photos import photo
from tests.support.heif import heic
from tests.support.roles import family
from tests.support.sites import Site, deployed
from tests.support.traffic import PATIENCE, until

pytestmark = pytest.mark.services

BUSY = {"jvm", "planner", "daemons", "workers", "background", "heic"}
PHOTO = photo(0)
HEIC = heic(Image.open(io.BytesIO(PHOTO)))
numbers = itertools.count()


@pytest.fixture(scope="module")
def site(
    aws: EmbeddedAws, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with deployed(tmp_path_factory.mktemp("site"), cache_dir) as shared:
        (shared.folder / "tmp").mkdir()
        shared.settings["TMPDIR"] = str(shared.folder / "tmp")
        shared.settings["FRUITS_PCA__INTERVAL_SECONDS"] = "1"
        shared.settings["FRUITS_PCA__LEAST_PAUSE"] = "0"
        yield shared


def put(site: Site) -> str:
    """Put a photo, and one as HEIC, whose key is returned."""
    number = next(numbers)
    site.put(f"{number}.jpg", PHOTO)
    site.put(f"{number}.heic", HEIC)
    return f"photos/{number}.heic"


def busy(site: Site, warden: subprocess.Popen[str]) -> psutil.Process:
    """The driver of a service, once each of its processes is at work."""

    driver = until(lambda: psutil.Process(warden.pid).children())[0]
    while not (at_work := family(driver)).keys() >= BUSY:
        assert warden.poll() is None, (site.folder / "log").read_text()[-3000:]
        if "planner" in at_work:
            put(site)
        time.sleep(0.3)
    return driver


def nothing_is_left(site: Site, warden: subprocess.Popen[str]) -> None:
    """But for the folders of one process, which the next start sweeps."""
    warden.communicate(timeout=PATIENCE)
    assert len(list((site.folder / "work").glob("spark/*"))) <= 1
    left = {each.name for each in (site.folder / "tmp").iterdir()}
    assert left <= {f"fruits-memory-{os.getuid()}"}


def test_killed_while_sparks_jvm_starts(site: Site) -> None:
    warden = site.start("run", warden=True)
    driver = until(lambda: psutil.Process(warden.pid).children())[0]
    until(lambda: "jvm" in family(driver))
    driver.kill()
    nothing_is_left(site, warden)


def test_its_parts_are_killed_one_by_one_and_it_goes_on_until_its_driver_is(site: Site) -> None:
    """The driver is stopped before, so nothing of its own can end the others."""
    warden = site.start("run", warden=True)
    for part in ("heic", "workers", "background", "daemons"):  # which others descend from: the last
        driver = busy(site, warden)
        for each in family(driver)[part]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        key = put(site)
        site.wait(lambda key=key: key in site.features())
    driver.suspend()
    driver.kill()
    nothing_is_left(site, warden)


@pytest.mark.parametrize(
    ("part", "number", "status"),
    [("jvm", signal.SIGKILL, 1), ("planner", signal.SIGKILL, 1), ("driver", signal.SIGTERM, 0)],
)
def test_it_ends_in_the_middle_of_its_work(site: Site, part: str, number: int, status: int) -> None:
    warden = site.start("run", warden=True)
    driver = busy(site, warden)
    for each in [driver] if part == "driver" else family(driver)[part]:
        each.send_signal(number)
    nothing_is_left(site, warden)
    assert warden.returncode == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_signal_to_all_of_its_group(site: Site, number: int) -> None:
    """By a terminal that is closed, say."""
    warden = site.start("run", warden=True)
    os.killpg(busy(site, warden).pid, number)
    nothing_is_left(site, warden)


@pytest.mark.parametrize("part", ["driver", "jvm"])
def test_a_refit_is_killed(site: Site, part: str) -> None:
    if not site.features():
        put(site)
        site.run_once()
    warden = site.start("refit", warden=True)
    driver = until(lambda: psutil.Process(warden.pid).children())[0]
    until(lambda: "background" in family(driver))
    (doomed,) = [driver] if part == "driver" else family(driver)["jvm"]
    doomed.kill()
    nothing_is_left(site, warden)
