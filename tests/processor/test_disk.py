"""The disk of a running service fills up, or its folder is deleted: it says so, and nothing is lost."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra_scripts.embedded import EmbeddedAws
from tests.support.disks import fill, small_disk
from tests.support.drawn_photos import photo
from tests.support.sites import Site, deployed
from tests.support.traffic import PATIENCE

pytestmark = pytest.mark.services

ROOM = 64 << 20


@pytest.fixture(scope="module")
def site(
    aws: EmbeddedAws, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with small_disk(folder / "disk", ROOM) as disk, deployed(folder, cache_dir) as shared:
        shared.settings["FRUITS_SERVICE__WORK_DIR"] = str(disk / "work")
        yield shared


def test_a_disk_that_fills_up_and_a_folder_deleted_in_use_are_named_and_nothing_is_lost(
    site: Site,
) -> None:
    disk = site.folder / "disk"
    service = site.start("run")
    site.put("1.jpg", photo(1))
    site.wait(lambda: len(site.features()) == 1)
    fill(disk)
    site.put("2.jpg", photo(2))
    _, errors = service.communicate(timeout=PATIENCE)
    full = fill(disk)  # what it left may have made some room
    again = site.command("run", "--once")
    full.unlink()
    for status, said in ((service.returncode, errors), (again.returncode, again.stderr)):
        assert status == 1
        assert len(said.splitlines()) == 1, said
        assert str(disk / "work") in said
        assert "is full" in said or "o space left on" in said

    service = site.start("run")
    site.put("3.jpg", photo(3))
    site.wait(lambda: site.features() == site.live())
    work = disk / "work"
    shutil.rmtree(work)
    site.put("4.jpg", photo(4))
    _, errors = service.communicate(timeout=PATIENCE)
    assert service.returncode == 1
    assert errors.startswith(f"error: {work} was deleted while the service ran")
    assert len(errors.splitlines()) == 1, errors
    site.run_once()
    assert site.features() == site.live()
