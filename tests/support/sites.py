"""A site: a separately deployed stack, and the commands that run on it as processes."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import boto3
import psutil

from common.aws import forget
from common.config import load
from common.redaction import REDACTED
from infra_scripts.assembly import stack_of
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy
from processor.store import delta
from tests.support.traffic import PATIENCE
from tests.support.watched import quiet

ROOT = Path(__file__).resolve().parents[2]
WARDEN = (sys.executable, "-m", "tests.support.warden")
POLL_SECONDS = 0.4  # reading a table takes 20 ms of a core, which a service that starts needs more
# Credentials that the embedded AWS takes like any others, and that nothing may show.
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "fRuiTsSecret+0123456789/abcdefghijKLMNOP",
    "AWS_SESSION_TOKEN": "IQoJb3JpZ2luFRUITS" + "T0ken/+=" * 20,
}
EMBEDDED = "embedded"  # the secret of the embedded AWS


class Site:
    """A separately deployed stack, and the commands that run on it."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        name = f"t{uuid.uuid4().hex[:12]}"
        self.bucket = name
        self.folder = folder
        self.settings = {
            "FRUITS_STORAGE__BUCKET": name,
            "FRUITS_QUEUE__NAME": name,
            "FRUITS_QUEUE__DEAD_LETTER_NAME": f"{name}-dead",
            "FRUITS_QUEUE__VISIBILITY_TIMEOUT_SECONDS": "10",
            "FRUITS_MODEL__WEIGHTS": "random",  # as the demo: one compiled network serves both
            "FRUITS_MODEL__INPUT_SIZE": "32",
            "FRUITS_PCA__COMPONENTS": "3",
            "FRUITS_PCA__REPORT": "false",  # a second of both cores for each refit
            "FRUITS_SERVICE__WORK_DIR": str(folder / "work"),
            "FRUITS_SERVICE__CACHE_DIR": str(cache_dir),
            "FRUITS_LOGS__GROUP": f"/{name}",
            "FRUITS_INSTANCE__TYPE": "",
        }
        self.s3 = boto3.client("s3")
        self.processes: list[subprocess.Popen[str]] = []

    @property
    def environment(self) -> dict[str, str]:
        own = SECRETS if os.environ.get("AWS_SECRET_ACCESS_KEY") == EMBEDDED else {}
        return {**os.environ, **own, **self.settings}

    def start(self, *arguments: str, warden: bool = False) -> subprocess.Popen[str]:
        """Start a command; with a warden it ends once nothing is left of what the command started."""
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                [*(WARDEN if warden else ()), sys.executable, "-m", "processor", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.processes.append(process)
        return process

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; ``settings`` apply to it alone."""
        done = subprocess.run(
            [sys.executable, "-m", "processor", *arguments],
            cwd=ROOT,
            env=self.environment | settings,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert_no_secrets(done.stdout + done.stderr)
        return done

    def run_once(self) -> list[dict]:
        """``run --once``; returns its log lines."""
        done = self.command("run", "--once")
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def status(self) -> dict:
        done = self.command("status", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def put(self, name: str, data: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=f"photos/{name}", Body=data)

    def features(self) -> dict[str, str]:
        table = delta.open_table(f"s3://{self.bucket}/features")
        if table is None:
            return {}
        rows = table.dataset().to_table(columns=["key", "version"]).to_pylist()
        assert len({row["key"] for row in rows}) == len(rows)
        return {row["key"]: row["version"] for row in rows}

    def live(self) -> dict[str, str]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="photos/")
        return {each["Key"]: each["ETag"].strip('"') for each in listed.get("Contents", [])}

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-3000:]
            time.sleep(POLL_SECONDS)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a service and all processes that it started, with SIGKILL."""
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        for each in family:
            try:
                each.kill()
            except psutil.NoSuchProcess:
                continue
        process.communicate()


def assert_no_secrets(text: str) -> None:
    """Neither the credentials in use are in it, nor the mark that they had to be redacted."""
    for secret in SECRETS.values():
        assert secret not in text
        assert secret[:20] not in text
    assert REDACTED not in text


@contextmanager
def deployed(folder: Path, cache_dir: Path) -> Iterator[Site]:
    """A new site; its processes are killed afterwards."""
    forget()
    site = Site(folder, cache_dir)
    with closing(Clients.connect()) as clients:
        deploy(clients, stack_of(load(environment=site.settings)), clients.place(), say=quiet)
    try:
        yield site
    finally:
        for process in site.processes:
            if process.poll() is None:
                site.kill(process)
        if (log := folder / "log").exists():
            assert_no_secrets(log.read_text(errors="replace"))
        forget()
