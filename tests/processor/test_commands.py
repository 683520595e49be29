"""The commands, as processes: the main job, crashes, restarts, and errors in one line.

Everything here runs ``python -m processor`` against the embedded AWS, with notifications as S3 sends
them, and kills it for real.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import psutil
import pytest

from infra_scripts.__main__ import main as infra
from infra_scripts.embedded import EmbeddedAws
from processor import files, tables
from processor.schema import FEATURES
from tests.processor.conftest import photo

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180  # seconds for what takes ten on a quiet machine
ODD_KEYS = [
    "a b.jpg",
    "a+b.jpg",
    "100%.jpg",
    "%2B.jpg",
    "c:d.jpg",
    'it\'s "quoted".jpg',
    "🍎/ü.jpg",
    "x" * (1024 - len("photos/.jpg")) + ".jpg",
]


class Site:
    """A deployed stack of its own, and the commands run on it."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        name = f"t{uuid.uuid4().hex[:12]}"
        self.bucket = name
        self.folder = folder
        self.settings = {
            "FRUITS_STORAGE__BUCKET": name,
            "FRUITS_QUEUE__NAME": name,
            "FRUITS_QUEUE__DEAD_LETTER_NAME": f"{name}-dead",
            "FRUITS_QUEUE__VISIBILITY_TIMEOUT_SECONDS": "10",
            "FRUITS_MODEL__WEIGHTS": "random:7",
            "FRUITS_MODEL__INPUT_SIZE": "32",
            "FRUITS_PCA__COMPONENTS": "3",
            "FRUITS_SERVICE__WORK_DIR": str(folder / "work"),
            "FRUITS_SERVICE__CACHE_DIR": str(cache_dir),
            "FRUITS_LOGS__GROUP": f"/{name}",
        }
        self.s3 = boto3.client("s3")
        self.processes: list[subprocess.Popen[str]] = []

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.settings}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "processor", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.processes.append(process)
        return process

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "processor", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def run_once(self) -> list[dict]:
        """``run --once``; the log lines of it."""
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
        table = tables.open_table(f"s3://{self.bucket}/features")
        if table is None:
            return {}
        rows = table.to_pyarrow_table(columns=["key", "version"]).to_pylist()
        assert len({row["key"] for row in rows}) == len(rows)
        return {row["key"]: row["version"] for row in rows}

    def live(self) -> dict[str, str]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="photos/")
        return {each["Key"]: each["ETag"].strip('"') for each in listed.get("Contents", [])}

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-3000:]
            time.sleep(0.1)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End a service and all that it started, without a chance to say goodbye."""
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        for each in family:
            try:
                each.kill()
            except psutil.NoSuchProcess:
                continue
        process.communicate()


@pytest.fixture
def site(
    aws: EmbeddedAws, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    files.s3.cache_clear()
    deployed = Site(tmp_path, cache_dir)
    with monkeypatch.context() as patch:
        for name, value in deployed.settings.items():
            patch.setenv(name, value)
        assert infra(["deploy"]) == 0
    yield deployed
    for process in deployed.processes:
        if process.poll() is None:
            deployed.kill(process)
    files.s3.cache_clear()


def test_the_main_job(site: Site) -> None:
    """Promises 1 to 5 and 7, from the photos in the bucket to the matrix."""
    for number, name in enumerate(ODD_KEYS):
        site.put(name, photo(number))
    site.put("bad.jpg", b"no photo")
    site.s3.put_object(Bucket=site.bucket, Key="elsewhere/a.jpg", Body=photo(1))
    log = site.run_once()
    expected = {key: tag for key, tag in site.live().items() if not key.endswith("bad.jpg")}
    assert site.features() == expected
    assert {key.removeprefix("photos/") for key in expected} == set(ODD_KEYS)
    state = site.status()
    assert (state["photos"], state["rejects"]) == (len(ODD_KEYS), 1)
    queue = {"visible": 0, "in_flight": 0, "dead_letters": 0, "oldest_seconds": 0}
    assert state["queue"] == queue
    assert state["reduced"]["rows"] == len(ODD_KEYS)
    assert state["reduced"]["features_version"] == state["features"]["version"]
    assert state["last_batch"]["photos"] == len(ODD_KEYS)
    assert {line["level"] for line in log} <= {"INFO", "WARNING"}

    why = json.loads(site.command("why", "photos/bad.jpg", "--json").stdout)
    assert why["reject"]["reason"] == "unsupported"
    assert "stored, up to date" in site.command("why", "photos/a b.jpg").stdout

    # The machine is lost; photos change; everything comes again.
    shutil.rmtree(site.folder / "work")
    site.put("a b.jpg", photo(50))
    site.put("a+b.jpg", photo(1))  # the same bytes again
    site.s3.delete_object(Bucket=site.bucket, Key="photos/c:d.jpg")
    (batch,) = (line for line in site.run_once() if line["message"] == "micro-batch durable")
    assert (batch["stored"], batch["replaced"]) == (1, 1)
    assert (batch["removed"], batch["unchanged"]) == (1, 1)
    assert site.features() == {k: v for k, v in site.live().items() if not k.endswith("bad.jpg")}


def test_killed_in_the_middle_of_a_batch_nothing_is_lost(site: Site) -> None:
    site.settings["FRUITS_BATCH__MAX_PHOTOS"] = "20"
    for number in range(100):
        site.put(f"{number}.jpg", photo(number))
    service = site.start("run")
    site.wait(lambda: site.features())
    site.kill(service)
    stored = len(site.features())
    assert 0 < stored < 100, "the service was killed before the end of its work"
    site.run_once()
    assert site.features() == site.live()
    state = site.status()
    assert (state["photos"], state["reduced"]["rows"]) == (100, 100)
    assert state["queue"]["visible"] + state["queue"]["in_flight"] == 0


def test_a_lost_checkpoint_changes_nothing(site: Site) -> None:
    for number in range(5):
        site.put(f"{number}.jpg", photo(number))
    site.run_once()
    shutil.rmtree(site.folder / "work" / "checkpoint")
    site.put("5.jpg", photo(5))
    site.run_once()
    assert site.features() == site.live()


def test_the_service_follows_until_it_is_told_to_stop(site: Site) -> None:
    """Rows and matrix without a refit asked for; on SIGTERM it ends with status 0."""
    group = site.settings["FRUITS_LOGS__GROUP"]
    site.settings["FRUITS_LOGS__CLOUDWATCH"] = "true"
    service = site.start("run")
    site.put("a.jpg", photo(1))
    site.put("b.jpg", photo(2))
    site.wait(lambda: len(site.features()) == 2)
    site.put("c.jpg", photo(3))
    site.s3.delete_object(Bucket=site.bucket, Key="photos/a.jpg")
    site.wait(lambda: site.features() == site.live())

    def matrix_rows() -> int:
        table = tables.open_table(f"s3://{site.bucket}/reduced")
        return tables.rows(table) if table else 0

    site.wait(lambda: matrix_rows() == 2)
    service.send_signal(signal.SIGTERM)
    _, errors = service.communicate(timeout=PATIENCE)
    assert (service.returncode, errors) == (0, "")
    logs = boto3.client("logs")
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    sent = logs.get_log_events(
        logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
    )["events"]
    told = [json.loads(each["message"])["message"] for each in sent]
    assert "micro-batch durable" in told
    assert "service stopped" in told


def test_a_malformed_message_reaches_the_dead_letter_queue(site: Site) -> None:
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=site.bucket)["QueueUrl"]
    sent = sqs.send_message(QueueUrl=url, MessageBody="{}")["MessageId"]
    site.put("a.jpg", photo(1))
    log = site.run_once()
    assert any(line["level"] == "ERROR" and sent in line["message"] for line in log)
    assert site.features() == site.live()
    assert site.status()["queue"]["dead_letters"] == 1


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
        ("FRUITS_MODEL__INPUT_SIZE", "48", ()),
        ("JAVA_HOME", "none/such", ("Java 17 or 21", "JAVA_HOME", "apt-get install")),
        ("PATH", "none/such", ("Java 17 or 21", "on the PATH", "apt-get install")),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", ("127.0.0.1:9", "AWS_ENDPOINT_URL")),
    ],
)
def test_errors_are_one_line(site: Site, setting: str, value: str, words: tuple) -> None:
    if setting == "FRUITS_MODEL__INPUT_SIZE":  # another network than the store's
        description = "vgg16-avg_pool-224-of-another"
        tables.create_table(f"s3://{site.bucket}/features", FEATURES, description)
        words = ("vgg16-avg_pool-224-of-another", "storage.store_prefix")
    if setting == "PATH":
        site.settings["JAVA_HOME"] = ""
    site.settings[setting] = value
    assert_one_line(site.command("run", "--once"), *words)


class Denies(BaseHTTPRequestHandler):
    """An AWS that allows nothing."""

    def answer(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(0 if self.command == "HEAD" else len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("command", [("run", "--once"), ("refit",), ("status",), ("why", "k")])
def test_no_permission_is_one_line(site: Site, command: tuple[str, ...]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Denies) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site.settings["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"
        done = site.command(*command)
        server.shutdown()
    assert_one_line(done, site.bucket, "no permission", "infra_scripts policy")


def test_no_command_and_help(site: Site) -> None:
    assert site.command().returncode == 2
    done = site.command("--help")
    assert done.returncode == 0
    for command in ("run", "refit", "status", "why"):
        assert command in done.stdout
    assert_one_line(site.command("refit"), "no features", "run the service")
    assert "unknown" in site.command("why", "photos/none.jpg").stdout
