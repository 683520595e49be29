"""Fixtures of the store's tests: where tables and objects lie."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A local folder for one table."""
    return str(tmp_path / "table")


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder on the local disk, and one in a bucket."""
    if request.param == "local":
        return str(tmp_path / "place")
    return f"s3://{request.getfixturevalue('bucket')}/place"
