"""A log line: one line of JSON, printable, without secrets, and shorter than the journal's limit."""

import io
import json
import logging
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.log_context import bound
from common.log_lines import MAX_LINE, JsonFormatter
from common.redaction import REDACTED


class Log:
    """A separate logger, and what it wrote."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(JsonFormatter())
        self.logger = logging.Logger("ours.part")
        self.logger.addHandler(handler)

    def line(self) -> dict[str, Any]:
        (text,) = self.stream.getvalue().splitlines(keepends=True)
        assert text.endswith("\n")
        return json.loads(text)


def fail(text: str) -> None:
    raise KeyError(text)


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_line_has_time_level_logger_and_message(log: Log) -> None:
    log.logger.warning("%d photos of %s", 3, "🍎")
    line = log.line()
    at = datetime.fromisoformat(line.pop("at"))
    assert timedelta(0) <= datetime.now(UTC) - at < timedelta(minutes=1)
    assert line == {"level": "WARNING", "logger": "ours.part", "message": "3 photos of 🍎"}
    assert "🍎" in log.stream.getvalue()


def test_what_is_passed_as_extra_becomes_fields(log: Log) -> None:
    log.logger.info("a", extra={"photos": 3, "key": "a\nb", "path": Path("/x"), "no": None})
    line = log.line()
    found = {name: line[name] for name in ("photos", "key", "path", "no")}
    assert found == {"photos": 3, "key": "a\nb", "path": "/x", "no": None}


def test_an_exception_is_logged_with_its_traceback(log: Log) -> None:
    try:
        fail("lost")
    except KeyError:
        log.logger.exception("failed")
    line = log.line()
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("KeyError: 'lost'")


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_any_text_is_one_line(message: str, field: str) -> None:
    log = Log()
    log.logger.info("%s", message, extra={"field": field})
    assert log.stream.getvalue().removesuffix("\n").isprintable()
    line = json.loads(log.stream.getvalue())
    assert (line["message"], line["field"]) == (message, field)


def test_a_call_whose_arguments_do_not_fit_is_a_line(log: Log) -> None:
    class Unprintable:
        def __repr__(self) -> str:
            return "unprintable"

    log.logger.info("%d photos", Unprintable())
    assert "%d photos % (unprintable,)" in log.line()["message"]


def test_what_is_bound_becomes_fields_and_what_is_passed_counts_more(log: Log) -> None:
    with bound(batch=7, key="outer"), bound(key="inner"):
        log.logger.info("a", extra={"batch": 8})
    line = log.line()
    assert (line["batch"], line["key"]) == (8, "inner")


@pytest.mark.parametrize("letter", ["x", "ü", "🍎", "\x1b", '"', "\\"])
def test_a_long_line_is_shortened_below_the_limit_of_the_journal(log: Log, letter: str) -> None:
    with bound(batch=7, key="photos/" + "k" * 1000):
        try:
            fail(letter * 60_000 + "the end")
        except KeyError:
            log.logger.exception(
                "the beginning%s", letter * 60_000, extra={"more": [letter] * 60_000}
            )
    text = log.stream.getvalue()
    assert 0.9 * MAX_LINE < len(text.encode()) <= MAX_LINE
    line = log.line()
    assert line["truncated"] == ["exception", "message", "more"]
    assert line["message"].startswith("the beginning" + letter)
    assert line["message"].endswith("…")
    assert line["exception"].startswith("…")
    assert line["exception"].endswith("the end'")
    assert (line["batch"], line["key"]) == (7, "photos/" + "k" * 1000)


def test_a_line_with_very_many_fields_is_shortened_too(log: Log) -> None:
    log.logger.info("a", extra={f"field_{n}": "x" * 200 for n in range(500)})
    assert len(log.stream.getvalue().encode()) <= MAX_LINE


def test_only_what_is_too_long_is_shortened(log: Log) -> None:
    log.logger.info("x" * 100_000, extra={"short": "y" * 10_000})
    line = log.line()
    assert line["truncated"] == ["message"]
    assert line["short"] == "y" * 10_000


SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def test_secrets_are_redacted_wherever_they_are(log: Log) -> None:
    text = f"aws_secret_access_key={SECRET}"
    try:
        fail(text)
    except KeyError:
        log.logger.exception(
            "with %s",
            text,
            extra={"password": "hunter2", "deep": {"a": [text], "token": 1, "n": 2}},
        )
    written = log.stream.getvalue()
    assert SECRET not in written
    assert "hunter2" not in written
    line = log.line()
    assert line["message"] == f"with aws_secret_access_key={REDACTED}"
    assert line["deep"] == {"a": [f"aws_secret_access_key={REDACTED}"], "token": 1, "n": 2}


def test_a_key_is_logged_as_it_is(log: Log) -> None:
    key = "photos/password=abc&X-Amz-Signature=0123456789.jpg"
    with bound(key=key):
        log.logger.info("a")
    assert log.line()["key"] == key


def test_a_document_of_metrics_is_written_as_it_is(log: Log) -> None:
    metrics = [{"Name": f"m{n}", "Unit": "Count"} for n in range(100)]
    directive = {"Namespace": "Fruits", "Dimensions": [["Queue"]], "Metrics": metrics}
    document: dict[str, Any] = {"_aws": {"Timestamp": 1, "CloudWatchMetrics": [directive]}}
    document |= {"Queue": "password=x", "Latency": [0.5, 1.25], "text": "x" * 60_000}
    document |= {f"m{n}": n / 7 for n in range(100)}
    log.logger.info("metrics", extra=document)
    line = log.line()
    assert {name: line[name] for name in document} == document
    assert "truncated" not in line


def test_numbers_that_json_lacks_are_null(log: Log) -> None:
    log.logger.info("a", extra={"a": math.nan, "b": [math.inf, 1.5]})
    assert log.line()["a"] is None
    assert log.line()["b"] == [None, 1.5]
