"""The contract with everybody outside: names in the bucket, columns, commands, what status prints.

A change that turns one of these tests red breaks somebody's notebook, alarm or runbook.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra_scripts.embedded import EmbeddedAws
from tests.support.drawn_photos import photo
from tests.support.sites import Site, deployed

ROOT = Path(__file__).resolve().parent.parent
MODEL_ID = "vgg16-avg_pool-32-5775d8524f0c6b89-reduced2-bilinear-vgg16-1"
PCA_NAME = r"\d{8}T\d{6}-v\d+-[0-9a-f]{6}"
PART = r"part-[0-9a-f]{32}\.parquet"
NAMES = [
    r"features/_delta_log/\d{20}\.json",
    rf"features/{PART}",
    rf"models/pca/{PCA_NAME}\.npz",
    r"models/statistics\.npz",
    r"pending/_delta_log/\d{20}\.json",
    r"reduced\.csv",
    r"reduced/_delta_log/\d{20}\.json",
    rf"reduced/{PCA_NAME}/{PART}",
    r"reports/latest\.html",
    r"reports/map\.parquet",
    r"rejects/_delta_log/\d{20}\.json",
    rf"rejects/{PART}",
]
COMMANDS = {
    ("processor",): {
        *("run", "refit", "report", "status", "why", "reconcile", "redrive"),
        *("similar", "duplicates"),
    },
    ("processor", "run"): {"--config", "--once"},
    ("processor", "refit"): {"--config"},
    ("processor", "report"): {"--config", "--out"},
    ("processor", "status"): {"--config", "--json"},
    ("processor", "why"): {"--config", "--json"},
    ("processor", "reconcile"): {
        "--config",
        "--dry-run",
        "--json",
        "--prefix",
        "--retry",
        "--since",
    },
    ("processor", "redrive"): {"--config", "--cause", "--dry-run", "--json"},
    ("processor", "similar"): {"--config", "--json", "--top"},
    ("processor", "duplicates"): {"--config", "--cosine", "--json"},
    ("ingest",): {"upload"},
    ("ingest", "upload"): {"--config", "--under"},
    ("infra_scripts",): {"plan", "deploy", "policy", "template", "destroy"},
    ("infra_scripts", "plan"): {"--config"},
    ("infra_scripts", "deploy"): {"--config"},
    ("infra_scripts", "template"): {"--config", "--existing-bucket"},
    ("infra_scripts", "policy"): {"--config", "--deployer"},
    ("infra_scripts", "destroy"): {"--config", "--delete-data", "--yes"},
    ("infra_scripts.embedded",): {"--port", "--region"},
    ("demo",): {"--photos", "--out", "--weights"},
    ("notebooks",): {"--photos", "--out", "--weights"},
}


@pytest.fixture(scope="module")
def site(
    aws: EmbeddedAws, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A store that a service has filled and nothing else has touched."""
    with deployed(tmp_path_factory.mktemp("site"), cache_dir) as filled:
        for number in range(5):
            filled.put(f"label {number % 2}/{number}.jpg", photo(number))
        filled.put("bad.jpg", b"no photo")
        del filled.settings["FRUITS_PCA__REPORT"]  # on, as for everybody
        filled.run_once()
        yield filled


def delta(site: Site, name: str) -> deltalake.DeltaTable:
    """As anybody's tools open it."""
    endpoint = site.s3.meta.endpoint_url
    options = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    return deltalake.DeltaTable(f"s3://{site.bucket}/{name}", storage_options=options)


def schema(site: Site, name: str) -> dict[str, str]:
    return {field.name: str(field.type) for field in delta(site, name).to_pyarrow_dataset().schema}


def test_names_in_the_bucket(site: Site) -> None:
    listed = site.s3.list_objects_v2(Bucket=site.bucket)["Contents"]
    made = [each["Key"] for each in listed if not each["Key"].startswith("photos/")]
    for key in made:
        assert any(re.fullmatch(pattern, key) for pattern in NAMES), key
    for pattern in NAMES:
        assert any(re.fullmatch(pattern, key) for key in made), pattern


def test_columns(site: Site) -> None:
    assert schema(site, "features") == {
        "key": "string",
        "version": "string",
        "label": "string",
        "width": "int32",
        "height": "int32",
        "event_time": "timestamp[us, tz=UTC]",
        "model": "string",
        "features": "list<element: float not null>",
    }
    assert schema(site, "rejects") == {
        "key": "string",
        "version": "string",
        "reason": "string",
        "detail": "string",
        "attempts": "int32",
        "at": "timestamp[us, tz=UTC]",
    }
    assert schema(site, "reduced") == {
        "key": "string",
        "label": "string",
        **dict.fromkeys(("pc1", "pc2", "pc3"), "float"),
    }


def test_what_rows_and_tables_say_about_themselves(site: Site) -> None:
    features, reduced = delta(site, "features"), delta(site, "reduced")
    assert features.metadata().description == MODEL_ID
    assert features.metadata().configuration["fruits.model"] == MODEL_ID
    table = features.to_pyarrow_table()
    assert set(table["model"].to_pylist()) == {MODEL_ID}
    assert set(table["label"].to_pylist()) == {"label 0", "label 1"}
    assert {len(row) for row in table["features"].to_pylist()} == {512}
    commits = [entry for entry in features.history() if "batch" in entry]
    assert {"batch", "photos"} <= commits[0].keys()
    (commit,) = (entry for entry in reduced.history(1))
    assert {
        "model",
        "features_version",
        "photos_since_fit",
        "residual_since_fit",
    } <= commit.keys()
    assert reduced.transaction_version("features") == features.version()


def test_data_files_are_plain(site: Site) -> None:
    """Uncompressed, without dictionaries, statistics of the key only: every reader maps them."""
    path = delta(site, "features").get_add_actions().column("path")[0].as_py()
    body = site.s3.get_object(Bucket=site.bucket, Key=f"features/{path}")["Body"].read()
    group = pq.ParquetFile(pa.BufferReader(body)).metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(8)}
    assert {each.compression for each in columns.values()} == {"UNCOMPRESSED"}
    assert not any(each.has_dictionary_page for each in columns.values())
    assert {name for name, each in columns.items() if each.is_stats_set} == {"key"}


def test_reduced_csv(site: Site) -> None:
    answer = site.s3.get_object(Bucket=site.bucket, Key="reduced.csv")
    assert answer["ContentType"] == "text/csv; charset=utf-8"
    assert set(answer["Metadata"]) == {"model", "reduced-version", "features-version"}
    lines = answer["Body"].read().decode().splitlines()
    assert lines[0] == '"key","label","pc1","pc2","pc3"'
    assert len(lines) == 6


def test_report(site: Site) -> None:
    about = {"model", "network", "reduced-version", "features-version"}
    page = site.s3.get_object(Bucket=site.bucket, Key="reports/latest.html")
    assert page["ContentType"] == "text/html; charset=utf-8"
    assert set(page["Metadata"]) == about
    answer = site.s3.get_object(Bucket=site.bucket, Key="reports/map.parquet")
    assert answer["ContentType"] == "application/vnd.apache.parquet"
    assert answer["Metadata"] == page["Metadata"]
    table = pq.read_table(pa.BufferReader(answer["Body"].read()))
    assert {field.name: str(field.type) for field in table.schema} == {
        "key": "string",
        "version": "string",
        "label": "string",
        "pc1": "float",
        "pc2": "float",
        "neighbours": "struct<ids: list<element: int32>, distances: list<element: float>>",
        "thumbnail": "string",
    }
    metadata = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    assert metadata == {**page["Metadata"], "population": "5", "sample": "all photos"}
    assert [len(row["neighbours"]["ids"]) for row in table.to_pylist()] == [4] * 5
    assert all(row["thumbnail"].startswith("data:image/webp;base64,") for row in table.to_pylist())


def test_similar_and_duplicates(site: Site, tmp_path: Path) -> None:
    """What they print; without a Java that Spark could start on."""
    file = tmp_path / "a.jpg"
    file.write_bytes(photo(3))
    without = {"JAVA_HOME": "/none/such"}
    done = site.command("similar", str(file), "--top", "3", "--json", **without)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == {
        *("photo", "verdict", "likely", "confidence", "none_of_these", "least_cosine"),
        *("neighbours", "photos", "features_version"),
    }
    assert len(found["neighbours"]) == 3
    nearest = {"key": "photos/label 1/3.jpg", "label": "label 1", "cosine": 1.0}
    assert found["neighbours"][0] == nearest
    of_key = json.loads(site.command("similar", nearest["key"], "--json", **without).stdout)
    assert len(of_key["neighbours"]) == 4, "all but itself"
    other = site.command("similar", str(file), FRUITS_IMAGES__REDUCED_DECODE="false", **without)
    assert other.returncode == 1
    assert len(other.stderr.splitlines()) == 1, other.stderr
    assert f"has features of {MODEL_ID!r}" in other.stderr
    done = site.command("duplicates", "--cosine", "1", "--json", **without)
    assert json.loads(done.stdout) == {
        "photos": 5,
        "features_version": found["features_version"],
        "cosine": 1.0,
        "in_groups": 0,
        "groups": [],
    }


def test_models(site: Site) -> None:
    listed = site.s3.list_objects_v2(Bucket=site.bucket, Prefix="models/")["Contents"]
    found = {}
    for each in listed:
        local = site.folder / each["Key"].replace("/", "_")
        site.s3.download_file(site.bucket, each["Key"], str(local))
        with np.load(local, allow_pickle=False) as arrays:
            found[str(arrays["kind"])] = {name: arrays[name] for name in arrays}
    assert set(found) == {"pca/1", "known-statistics/2"}
    pca = found["pca/1"]
    assert pca["components_"].shape == (3, 512)
    assert set(pca) == {
        "kind",
        "mean_",
        "components_",
        "explained_variance_",
        "total_variance_",
        "n_samples_",
        "whiten",
        "about",
    }
    about = json.loads(str(pca["about"]))
    assert {
        "features": f"s3://{site.bucket}/features",
        "network": MODEL_ID,
        "reason": "on demand",
        "asked": "3, whiten False",
    }.items() <= about.items()
    assert set(about) >= {"features_version", "fitted_at"}


def test_status(site: Site) -> None:
    state = site.status()
    assert set(state) == {
        "photos",
        "rejects",
        "pending",
        "queue",
        "features",
        "reduced",
        "last_batch",
        "reconciliation",
    }
    assert set(state["pending"]) == {"photos", "reasons"}
    assert set(state["queue"]) == {"visible", "in_flight", "dead_letters", "oldest_seconds"}
    assert set(state["features"]) == {"uri", "version", "files", "model"}
    assert set(state["reduced"]) == {
        "uri",
        "version",
        "rows",
        "components",
        "features_version",
        "explained_variance",
        "model",
    }
    assert set(state["last_batch"]) == {"id", "photos", "at"}


def test_why(site: Site) -> None:
    known = json.loads(site.command("why", "photos/label 0/0.jpg", "--json").stdout)
    assert set(known) == {
        *("key", "s3", "features", "reject", "pending", "reduced", "dead_letters", "verdict")
    }
    assert set(known["s3"]) == {"version", "bytes", "modified"}
    assert set(known["dead_letters"]) == {"found", "looked_at", "all", "fault"}


def test_redrive(site: Site) -> None:
    found = json.loads(site.command("redrive", "--dry-run", "--json").stdout)
    assert set(found) == {"read", "in_flight", "more", "causes", "moved", "left", "fault"}


HELP = """
import contextlib, io, json, runpy, sys
module, *commands = json.loads(sys.argv[1])
shown = []
for command in commands:
    sys.argv = [module, *command, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__")
    shown.append(text.getvalue())
print(json.dumps(shown))
"""


@pytest.mark.parametrize("module", sorted({module for module, *_ in COMMANDS}))
def test_commands(module: str) -> None:
    """In one process, because most of its time is the imports."""
    commands = [words for words in COMMANDS if words[0] == module]
    asked = json.dumps([module, *(words[1:] for words in commands)])
    command = [sys.executable, "-c", HELP, asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for words, shown in zip(commands, json.loads(done.stdout), strict=True):
        options = set(re.findall(r"(?<![\w-])--[a-z-]+", shown.partition("options:")[2]))
        listed = re.findall(r"^    ([a-z]+)\b", shown, re.MULTILINE)
        assert options - {"--help"} | set(listed) == COMMANDS[words], words
