"""The demo: what it refuses, and one run of everything."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from demo import __main__ as demo
from demo import command, weights
from demo.errors import DemoError
from demo.filled import batch_size
from demo.fruit import SPECIES
from demo.results import check
from demo.sample import draw
from demo.service import ServiceProcess, without_trace
from processor.errors import WeightsError
from processor.network.weights import Weights

ROOT = Path(__file__).resolve().parents[2]
CAUSE = "cannot download ImageNet weights (no network): allow HTTPS to somewhere"


def test_refusals(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    file = tmp_path / "file"
    file.touch()
    for arguments, said in (
        (["--photos", str(tmp_path / "missing"), "--out", str(tmp_path / "out")], "does not exist"),
        (["--photos", str(tmp_path), "--out", str(tmp_path)], "are both"),
        (["--out", str(file)], "cannot write to --out"),
    ):
        assert demo.main(arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert said in error
        assert error.count("\n") == 1
    assert file.exists()
    with pytest.raises(SystemExit) as caught:
        demo.main(["--help"])
    assert caught.value.code == 0
    assert "--weights imagenet|random|PATH" in capsys.readouterr().out


def test_batches_are_small_enough_to_see_progress():
    assert [batch_size(n) for n in (1, 120, 1142, 100_000)] == [48, 48, 128, 256]


@pytest.fixture
def offline(monkeypatch):
    """Weights as they are without a network."""

    def obtain(setting, *, include_top, cache_dir):
        if setting.startswith("random"):
            return Weights(Path("w.npz"), "00", "random weights")
        raise WeightsError(CAUSE)

    monkeypatch.setattr(weights, "obtain", obtain)


def choose(asked, said=None):
    heard = [] if said is None else said
    return weights.choose(asked, include_top=False, cache_dir=Path("c"), say=heard.append)


def test_random_weights_stand_in_loudly(offline):
    said = []
    choice = choose(None, said)
    assert (choice.setting, choice.trained) == ("random", False)
    (notice,) = said
    assert "ATTENTION: RANDOM WEIGHTS" in notice
    assert "cannot download ImageNet weights (no network)." in notice
    assert "notop.h5" in notice
    assert len(notice.splitlines()) > 8


def test_nothing_stands_in_for_weights_that_were_asked_for(offline):
    said = []
    with pytest.raises(DemoError, match="--weights imagenet: cannot download"):
        choose("imagenet", said)
    with pytest.raises(DemoError, match=r"--weights s3://b/k: .*fetch the file first"):
        choose("s3://b/k", said)
    assert choose("random:7", said).setting == "random:7"
    assert said == []


def test_a_path_of_weights_becomes_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert weights.setting_of("a.h5") == str(tmp_path / "a.h5")


def test_rows_must_match():
    check({"a", "b"}, {"x": ["b", "a"]})
    with pytest.raises(DemoError, match=r"x has 1 rows too many"):
        check({"a", "b"}, {"x": ["a", "b", "a"]})
    with pytest.raises(DemoError, match=r"y lacks 1 photos \(b\)"):
        check({"a", "b"}, {"x": ["a", "b"], "y": ["a"]})
    with pytest.raises(DemoError, match=r"x has rows for 4 photos \(c, d, e, …\) that were"):
        check({"a"}, {"x": list("acdef")})


def test_a_trace_on_one_line_becomes_its_last_error():
    trace = (
        "PythonException: Traceback (most recent call last): File x KeyError: 'a' NameError: no b"
    )
    assert without_trace(trace) == "NameError: no b"
    assert without_trace("ServiceError: no Java") == "ServiceError: no Java"


def test_a_service_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    log_file = tmp_path / "service.log"
    with (
        ServiceProcess(log_file, tmp_path / "scratch") as service,
        pytest.raises(DemoError, match=r"the service failed: Spark needs Java .*more: tail"),
    ):
        service.ended(60)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [log_file.name]


def test_everything(tmp_path, cache_dir):
    """Photos of two folders and a file that is not a photo, through the real service."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    for n, species in enumerate(SPECIES[:2] * 4):
        (photos / species.name).mkdir(parents=True, exist_ok=True)
        draw(species, n).save(photos / species.name / f"{n} +é.jpg")
    (photos / "notes.PNG").write_text("not a photo")
    environment = {
        "FRUITS_MODEL__INPUT_SIZE": "32",
        "FRUITS_SERVICE__CACHE_DIR": str(cache_dir),
        "TMPDIR": str(tmp_path / "tmp"),
    }
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--photos", photos, "--out", out, "--weights", "random"],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    keys = {f"photos/{path.relative_to(photos).as_posix()}" for path in photos.glob("*/*.jpg")}
    features = pq.read_table(out / "features.parquet").to_pylist()
    assert {row["key"] for row in features} == keys
    assert len(features) == len(keys) == 8
    assert np.isfinite([row["features"] for row in features]).all()
    with (out / "reduced.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["key"] for row in rows} == keys
    assert {row["label"] for row in rows} == {"Apple", "Banana"}
    with Image.open(out / "map.png") as image:
        assert image.size == (1600, 1000)
    assert set(pq.read_table(out / "map.parquet")["key"].to_pylist()) == keys
    first = done.stdout[done.stdout.index(str(out)) :].split()[0]
    assert first == str(out / "report.html")
    assert "service stopped" in (out / "service.log").read_text(encoding="utf-8")
    assert "1: 1 unsupported" in done.stdout
    assert "8 rows × 512" in done.stdout
    progress = done.stderr.splitlines()
    assert len(progress) == len(set(progress))  # not a terminal: a line for each change
    passing = re.compile(r"queued|\d/9 photos uploaded")  # how many there are, is a matter of speed
    assert [line.rpartition(" · ")[2] for line in progress if not passing.search(line)] == [
        "looking for the weights",
        f"photos: 9 from {photos}",
        "starting the embedded AWS",
        "uploaded 9 photos to s3://fruits-photos",
        "starting the service",
        "fitting the PCA",
        "fetching and checking the results",
        "drawing the map",
    ]
    assert sorted(path.name for path in out.iterdir()) == [
        "features.parquet",
        "map.parquet",
        "map.png",
        "reduced.csv",
        "report.html",
        "service.log",
    ]
    assert list((tmp_path / "tmp").iterdir()) == []
