"""The commands' errors: one line each that names cause and fix."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra_scripts.embedded import EmbeddedAws
from processor.store import delta
from processor.store.schema import FEATURES
from tests.support.endpoints import Denies, Request, serving
from tests.support.forwarded import Refusal, forwarding
from tests.support.sites import ROOT, Site, deployed

OTHER = "vgg16-avg_pool-224-of-another"


@pytest.fixture(scope="module")
def site(
    aws: EmbeddedAws, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A site without photos; under other/ it has features of another network."""
    with deployed(tmp_path_factory.mktemp("site"), cache_dir) as shared:
        delta.create_table(f"s3://{shared.bucket}/other/features", FEATURES, OTHER)
        yield shared


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit status not 0, and one line on the screen that names cause and fix."""
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("FRUITS_PCA__COMPONENTS", "0", ("pca.components", "0")),
        ("FRUITS_PCA__COMPONENT", "3", ("pca.component", "not a setting", "components")),
        ("FRUITS_MODEL__LAYER", "fc3", ("model.layer", "fc3", "avg_pool")),
        ("FRUITS_QUEUE__NAME", "none-such", ("no queue 'none-such'", "deploy", "queue.name")),
        ("FRUITS_STORAGE__BUCKET", "none-such", ("no bucket", "deploy", "storage.bucket")),
        ("FRUITS_MODEL__WEIGHTS", "none/such.h5", ("none/such.h5", "model.weights")),
        ("FRUITS_STORAGE__STORE_PREFIX", "other/", (OTHER, "storage.store_prefix")),
        ("JAVA_HOME", "none/such", ("Java 17 or 21", "JAVA_HOME", "apt-get install")),
        ("PATH", "none/such", ("Java 17 or 21", "on the PATH", "apt-get install")),
        ("JAVA_TOOL_OPTIONS", "-XX:+UseG1GC", ("Java did not start", "JAVA_TOOL_OPTIONS", "G1GC")),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", ("127.0.0.1:9", "AWS_ENDPOINT_URL")),
    ],
)
def test_errors_are_one_line(site: Site, setting: str, value: str, words: tuple) -> None:
    settings = {setting: value} | ({"JAVA_HOME": ""} if setting == "PATH" else {})
    assert_one_line(site.command("run", "--once", **settings), *words)


def test_a_folder_that_spark_cannot_use_is_one_line(site: Site, tmp_path: Path) -> None:
    folder = str(tmp_path / "a,b")
    done = site.command("run", "--once", FRUITS_SERVICE__WORK_DIR=folder)
    assert_one_line(done, folder, "service.work_dir without ','")


def test_a_user_without_a_name_is_one_line(site: Site) -> None:
    capabilities = "+dac_override,+dac_read_search"  # to read the Python of whoever runs the tests
    become = ["setpriv", "--reuid", "54321", "--inh-caps", capabilities]
    become += ["--ambient-caps", capabilities]
    if subprocess.run([*become, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root, to become another user")
    done = subprocess.run(
        [*become, sys.executable, "-m", "processor", "run", "--once"],
        cwd=ROOT,
        env=site.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_line(done, "a name for the user id 54321", "/etc/passwd")


@pytest.mark.parametrize(
    "command", [("run", "--once"), ("refit",), ("status",), ("why", "k"), ("redrive",)]
)
def test_no_permission_is_one_line(site: Site, command: tuple[str, ...]) -> None:
    with serving(Denies) as url:
        done = site.command(*command, AWS_ENDPOINT_URL=url)
    assert_one_line(done, site.bucket, "no permission", "infra_scripts policy")


def test_what_delta_rs_may_not_read_is_one_line(site: Site) -> None:
    def refuse(request: Request) -> Refusal | None:
        return (403, "AccessDenied") if request.is_native else None

    with forwarding(refuse) as (url, _):
        done = site.command("status", AWS_ENDPOINT_URL=url)
    entry = f"{site.bucket}/features/_delta_log/"
    assert_one_line(done, entry, "GetObject was denied (no & no", "grant s3:GetObject", "policy")


def test_no_command_and_help(site: Site) -> None:
    assert site.command().returncode == 2
    done = site.command("--help")
    assert done.returncode == 0
    for command in ("run", "refit", "report", "status", "why", "redrive", "similar", "duplicates"):
        assert command in done.stdout
    assert_one_line(site.command("refit"), "no features", "run the service")
    assert_one_line(site.command("duplicates"), "no features", "run the service")
    assert_one_line(site.command("report"), "no matrix", "run the service")
    why = site.command("why", "photos/\x1b[2Jnone\u202e.jpg").stdout
    assert "unknown" in why
    assert r"key: photos/\u001b[2Jnone\u202e.jpg" in why.splitlines()


@pytest.mark.parametrize(
    ("streams", "status"), [("<&- 2>&-", 0), ("<&- >&-", 1), (">/dev/full", 1)]
)
def test_streams_that_are_closed_or_full(site: Site, streams: str, status: int) -> None:
    command = f'unset PYTHONUNBUFFERED; "$0" -m processor status {streams}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable],
        cwd=ROOT,
        env=site.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert ("photos: 0" in done.stdout) == (status == 0)
    assert ("error: OSError: [Errno" in done.stderr) == (status == 1)
