"""Fixtures of the store's tests: where tables and objects lie."""

from pathlib import Path

import pytest

from processor.store import delta, delta_aws


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


@pytest.fixture
def uri(bucket: str) -> str:
    """Where a table may be in a bucket."""
    return f"s3://{bucket}/features"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """delta-rs gives up at once; by default it tries for three minutes."""
    real = delta_aws.storage_options

    def options(folder: str) -> dict[str, str] | None:
        found = real(folder)
        return found and found | {"max_retries": "0", "timeout": "5s"}

    monkeypatch.setattr(delta, "storage_options", options)
