"""The service as a process: the main job, crashes and restarts.

Everything here runs ``python -m processor`` against the embedded AWS, with notifications as S3 sends
them, and kills it for real.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pyarrow.parquet as pq
import pytest

from infra_scripts.embedded import EmbeddedAws
from infra_scripts.template.queries import QUERIES
from processor.store import delta, objects
from tests.support import emf, insights
from tests.support.drawn_photos import photo
from tests.support.insights import flattened
from tests.support.sites import Site, deployed
from tests.support.traffic import PATIENCE

pytestmark = pytest.mark.services

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


@dataclass(frozen=True)
class FirstRun:
    """What a service did with photos, a file that is not a photo, and a malformed message."""

    site: Site
    malformed: str  # the message's id
    log: list[dict]
    state: dict
    features: dict[str, str]


@pytest.fixture(scope="module")
def first_run(
    aws: EmbeddedAws, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FirstRun]:
    """For tests that inspect it or continue from it; each leaves a store that mirrors the photos."""
    with deployed(tmp_path_factory.mktemp("site"), cache_dir) as site:
        sqs = boto3.client("sqs")
        url = sqs.get_queue_url(QueueName=site.bucket)["QueueUrl"]
        malformed = sqs.send_message(QueueUrl=url, MessageBody="{}")["MessageId"]
        for number, name in enumerate(ODD_KEYS):
            site.put(name, photo(number))
        site.put("bad.jpg", b"no photo")
        site.s3.put_object(Bucket=site.bucket, Key="elsewhere/a.jpg", Body=photo(1))
        site.settings |= {"FRUITS_LOGS__LEVEL": "DEBUG", "FRUITS_PCA__REPORT": "true"}
        log = site.run_once()
        del site.settings["FRUITS_LOGS__LEVEL"]
        yield FirstRun(site, malformed, log, site.status(), site.features())


def good(site: Site) -> dict[str, str]:
    """Versions by key of the valid photos that are in the bucket now."""
    return {key: tag for key, tag in site.live().items() if not key.endswith("bad.jpg")}


def test_the_main_job(first_run: FirstRun) -> None:
    """Promises 1 to 5 and 7, from the photos in the bucket to the matrix."""
    site, state = first_run.site, first_run.state
    keys = {f"photos/{name}" for name in ODD_KEYS}
    assert set(first_run.features) == keys
    assert (state["photos"], state["rejects"]) == (len(ODD_KEYS), 1)
    queue = {"visible": 0, "in_flight": 0, "dead_letters": 1, "oldest_seconds": 0}
    assert state["queue"] == queue
    assert state["reduced"]["rows"] == len(ODD_KEYS)
    assert state["reduced"]["features_version"] == state["features"]["version"]
    assert state["last_batch"]["photos"] == len(ODD_KEYS)
    others = [line for line in first_run.log if first_run.malformed != line.get("message_id")]
    assert {line["level"] for line in others} <= {"DEBUG", "INFO", "WARNING"}

    documents = [line for line in first_run.log if "_aws" in line]
    for each in documents:
        emf.check(each)
        assert each["Queue"] == site.bucket
    totals = [each for each in documents if "Reason" not in each]
    counts = {n: sum(each.get(n, 0) for each in totals) for n in ("Photos", "Rejects")}
    assert counts == {"Photos": len(ODD_KEYS), "Rejects": 1}
    assert [each["Reason"] for each in documents if "Reason" in each] == ["unsupported"]
    assert "RefitSeconds" in totals[-1]

    why = json.loads(site.command("why", "photos/bad.jpg", "--json").stdout)
    assert why["reject"]["reason"] == "unsupported"
    assert "stored, up to date" in site.command("why", "photos/a b.jpg").stdout

    # The machine is lost, photos change, and a new service starts.
    shutil.rmtree(site.folder / "work")
    site.put("a b.jpg", photo(50))
    site.put("a+b.jpg", photo(1))  # the same bytes again
    site.s3.delete_object(Bucket=site.bucket, Key="photos/c:d.jpg")
    (batch,) = (line for line in site.run_once() if line["message"] == "micro-batch durable")
    assert (batch["stored"], batch["replaced"]) == (1, 1)
    assert (batch["removed"], batch["unchanged"]) == (1, 1)
    assert site.features() == good(site)


def test_a_report_into_a_folder(first_run: FirstRun) -> None:
    site = first_run.site
    done = site.command("report", "--out", str(site.folder / "new" / "out"))
    assert done.returncode == 0, done.stderr
    report, points = (site.folder / "new" / "out" / name for name in ("report.html", "map.parquet"))
    assert report.stat().st_size
    table = pq.read_table(points)
    assert set(table["key"].to_pylist()) == set(site.features())
    assert table["thumbnail"].null_count == 0
    (line,) = (each for each in map(json.loads, done.stdout.splitlines()) if "photos_read" in each)
    assert line["message"] == "wrote the report"
    assert line["photos_read"] < len(table), "those of the bucket's map are not read again"


def test_damage_to_every_file_of_the_working_directory_changes_nothing(first_run: FirstRun) -> None:
    site = first_run.site
    files = [each for each in (site.folder / "work").rglob("*") if each.is_file()]
    assert {"features.sqlite", "metadata", "0"} <= {each.name for each in files}
    for file in files:
        file.write_bytes(b"")
    site.put("5.jpg", photo(5))
    site.run_once()
    assert site.features() == good(site)


def test_the_surroundings_do_not_matter(
    first_run: FirstRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odd names, and the variables of a login shell that is meant for another Spark."""
    other = tmp_path / "other"
    for file, text in {
        "bin/spark-submit": "#!/bin/sh\nexit 3\n",
        "conf/spark-defaults.conf": "spark.plugins com.other.Plugin\n",
        "python/pyspark/__init__.py": "raise ImportError('another Spark')\n",
    }.items():
        (other / file).parent.mkdir(parents=True)
        (other / file).write_text(text)
        (other / file).chmod(0o755)
    monkeypatch.delenv("HOME")
    site, work = first_run.site, tmp_path / "it's a böx 🍎 %20#"
    site.put("6.jpg", photo(6))
    umask = os.umask(0o077)
    try:
        done = site.command(
            *("run", "--once"),
            FRUITS_SERVICE__WORK_DIR=str(work),
            LC_ALL="C",
            TMPDIR="/none/such",
            SPARK_HOME=str(other),
            SPARK_CONF_DIR=str(other / "conf"),
            SPARK_LOCAL_DIRS="/none/such",
            SPARK_REMOTE="sc://none.such",
            PYSPARK_PYTHON="/bin/false",
            PYSPARK_SUBMIT_ARGS="--master yarn pyspark-shell",
            PYTHONPATH=str(other / "python"),
            JAVA_TOOL_OPTIONS="-Dother=1",
        )
    finally:
        os.umask(umask)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert site.features() == good(site)
    assert (work / "features.sqlite.sha256").exists()


def test_a_malformed_message_reaches_the_dead_letter_queue(first_run: FirstRun) -> None:
    (error,) = (line for line in first_run.log if line["level"] == "ERROR")
    assert error["message"].startswith("malformed message was moved to the dead-letter queue")
    assert error["message_id"] == first_run.malformed
    assert first_run.state["queue"]["dead_letters"] == 1
    last = first_run.log[-1]
    assert (last["level"], last["dead_letters"], last["pending"]) == ("WARNING", 1, 0)
    assert "1 dead letters: `python -m processor redrive --dry-run`" in last["message"]


def test_each_line_says_what_it_is_about(first_run: FirstRun) -> None:
    """With the level DEBUG, one line for each photo; one for each micro-batch at any level."""
    batches = [line for line in first_run.log if line["message"] == "micro-batch durable"]
    assert [line["batch"] for line in batches] == [line["batchId"] for line in batches]
    assert sum(line["numInputRows"] for line in batches) == len(ODD_KEYS) + 1
    assert sum(line["stored"] for line in batches) == len(ODD_KEYS)
    assert {reason for line in batches for reason in line["rejects"]} == {"unsupported"}
    for line in batches:
        assert {"addBatch", "triggerExecution"} <= line["durationMs"].keys()
        assert line["sources"][0]["endOffset"]
        assert 0 < line["lag_p50_seconds"] <= line["lag_max_seconds"] < PATIENCE
        assert line["backlog"] >= 0
        assert line["processedRowsPerSecond"] > 0
    photos = [line for line in first_run.log if line["message"].startswith("photo ")]
    numbers = {line["batch"] for line in batches}
    assert {(line["message"], line["key"]) for line in photos if line["batch"] in numbers} == {
        *(("photo stored", f"photos/{name}") for name in ODD_KEYS),
        ("photo rejected", "photos/bad.jpg"),
    }


def test_every_query_finds_its_fields_and_messages_in_a_run(first_run: FirstRun) -> None:
    messages = {line["message"] for line in first_run.log}
    names = {name for line in first_run.log for name in flattened(line)}
    for each in QUERIES:
        parsed = insights.parse(each.text)
        # Of lines that no quiet run has: repeats, tracebacks.
        assert parsed.fields - {"repeats", "exception"} <= names, each.name
        assert parsed.texts_of("message") - {"stopping"} <= messages, each.name


@pytest.fixture
def site(aws: EmbeddedAws, cache_dir: Path, tmp_path: Path) -> Iterator[Site]:
    with deployed(tmp_path, cache_dir) as alone:
        yield alone


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


def test_the_service_keeps_up_until_it_is_stopped(site: Site) -> None:
    """Rows and matrix follow without a refit on demand; on SIGTERM it exits with status 0."""
    group = site.settings["FRUITS_LOGS__GROUP"]
    site.settings |= {"FRUITS_LOGS__CLOUDWATCH": "true", "FRUITS_PCA__REPORT": "true"}
    service = site.start("run")
    site.put("a.jpg", photo(1))
    site.put("b.jpg", photo(2))
    site.wait(lambda: len(site.features()) == 2)
    site.put("c.jpg", photo(3))
    site.s3.delete_object(Bucket=site.bucket, Key="photos/a.jpg")
    site.wait(lambda: site.features() == site.live())

    def matrix_rows() -> int:
        table = delta.open_table(f"s3://{site.bucket}/reduced")
        return table.rows if table else 0

    site.wait(lambda: matrix_rows() == 2)
    site.wait(lambda: objects.exists(f"s3://{site.bucket}/reports/latest.html"))
    service.send_signal(signal.SIGTERM)
    _, errors = service.communicate(timeout=PATIENCE)
    assert (service.returncode, errors) == (0, "")
    logs = boto3.client("logs")
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    sent = logs.get_log_events(
        logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
    )["events"]
    messages = [json.loads(each["message"])["message"] for each in sent]
    assert "micro-batch durable" in messages
    assert "service stopped" in messages
