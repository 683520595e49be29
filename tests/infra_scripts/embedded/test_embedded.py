"""The embedded AWS as a process: how it starts, what it gives its callers, and how it ends."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra_scripts.embedded import EmbeddedAws
from infra_scripts.errors import EmbeddedAwsError

ROOT = Path(__file__).parents[3]


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not running(pid)


def test_environment_replaces_the_callers_aws_settings(short_lived: EmbeddedAws) -> None:
    mine = {"AWS_PROFILE": "production", "AWS_ENDPOINT_URL_S3": "https://elsewhere", "HOME": "/h"}
    merged = short_lived.over(mine)
    assert merged["HOME"] == "/h"
    assert merged["AWS_ENDPOINT_URL"] == short_lived.endpoint_url
    assert not {"AWS_PROFILE", "AWS_ENDPOINT_URL_S3"} & set(merged)


def test_stop_ends_it_and_may_be_repeated() -> None:
    embedded = EmbeddedAws().start()
    pid = embedded.pid
    with pytest.raises(EmbeddedAwsError, match="already running"):
        embedded.start()
    embedded.stop()
    embedded.stop()
    assert not running(pid)
    with pytest.raises(EmbeddedAwsError, match="not running"):
        _ = embedded.pid


def test_a_taken_port_is_named(short_lived: EmbeddedAws) -> None:
    port = int(short_lived.endpoint_url.rpartition(":")[2])
    with pytest.raises(EmbeddedAwsError, match=f"cannot listen on 127.0.0.1:{port}"):
        EmbeddedAws(port).start()


def test_it_dies_with_a_killed_parent() -> None:
    program = (
        "import time; from infra_scripts.embedded import EmbeddedAws\n"
        "print(EmbeddedAws().start().pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        assert running(server)
        parent.kill()
    assert wait_until_gone(server)
