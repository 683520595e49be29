"""The errors: one tree, as drawn, and the one line that a traceback comes down to."""

import copy
import inspect
import pickle
import re
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.queue import QueueError
from processor import errors
from processor.errors import (
    ChildError,
    ProcessorError,
    Refused,
    RejectedImage,
    ServiceError,
    TooLarge,
    cause_in,
    fault_in,
)

CLASSES = {
    name: each
    for name, each in inspect.getmembers(errors, inspect.isclass)
    if each.__module__ == errors.__name__
}


def drawn() -> dict[str, str]:
    """The parent of each class, as the module's docstring draws it."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:[│ ]   )*)(?:[├└]── )?([A-Z]\w+)(?:  |$)", line)
        if found:
            branch = re.search("[├└]── ", line)
            depth = len(found[1]) // 4 + 1 if branch else 0
            del above[depth:]
            parents[found[2]] = above[-1] if above else "RuntimeError"
            above.append(found[2])
    return parents


def test_the_tree_is_as_drawn() -> None:
    assert drawn() == {name: each.__base__.__name__ for name, each in CLASSES.items()}
    assert all(issubclass(each, ProcessorError) for each in CLASSES.values())


def test_the_particulars_of_an_error_are_kept() -> None:
    assert (ChildError("no weights", "a trace").reason, str(ChildError("", "a trace"))) == (
        "no weights",
        "a trace",
    )
    refused, large = Refused("forbidden", "S3 answered"), TooLarge("9 bytes", "version")
    assert (refused.reason, str(refused)) == ("forbidden", "S3 answered")
    assert (large.version, str(large)) == ("version", "9 bytes")
    for error in (refused, large):
        again = pickle.loads(pickle.dumps(error))
        assert (vars(again), str(again)) == (vars(error), str(error))


# Rejected images


@given(st.text(st.characters(codec="utf-8"), max_size=1000))
def test_a_detail_is_one_printable_line(text: str) -> None:
    rejected = RejectedImage("corrupt", text)
    assert rejected.detail.isprintable()
    assert len(rejected.detail) <= 300
    assert "  " not in rejected.detail
    assert str(rejected) == f"corrupt: {rejected.detail}"
    for again in (pickle.loads(pickle.dumps(rejected)), copy.copy(rejected)):
        assert (again.reason, again.detail) == (rejected.reason, rejected.detail)


def test_a_printable_detail_stays_as_it_is() -> None:
    assert RejectedImage("corrupt", "12 × 9 pixels, 🍎").detail == "12 × 9 pixels, 🍎"
    assert RejectedImage("corrupt", "a\x00b\r\nc\u202ed").detail == "a b c d"


# Causes


def fail(error: Exception) -> None:
    raise error


def traceback_of(error: Exception) -> str:
    try:
        fail(error)
    except Exception:
        return traceback.format_exc()


@pytest.mark.parametrize("around", ["{}", "Job aborted: Lost task 0.0:\n{}\n\tat org.apache(X)\n"])
def test_the_cause_in_a_traceback_is_its_exception(around: str) -> None:
    assert (
        cause_in(around.format(traceback_of(ValueError("bad\nsecond line")))) == "ValueError: bad"
    )


@pytest.mark.parametrize("error", [ServiceError("start it again"), QueueError("start it again")])
def test_of_an_error_of_ours_it_is_the_text(error: Exception) -> None:
    assert cause_in(traceback_of(error)) == "start it again"


def test_of_several_tracebacks_the_last_counts() -> None:
    def raise_from() -> None:
        try:
            {}["lost"]
        except KeyError as error:
            raise ValueError("no such photo") from error

    with pytest.raises(ValueError, match="no such") as failure:
        raise_from()
    text = "".join(traceback.format_exception(failure.value))
    assert "KeyError" in text
    assert cause_in(text) == "ValueError: no such photo"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", ""),
        ("one line", "one line"),
        ("\n  first \nsecond", "first "),
        ("cut off\nTraceback (most recent call last):\n  File x", "cut off"),
    ],
)
def test_without_a_traceback_it_is_the_first_line(text: str, cause: str) -> None:
    assert cause_in(text) == cause


QUERY = (
    "[STREAM_FAILED] Query [id = 1, runId = 2] terminated with exception: {} SQLSTATE: XXKST\nmore"
)
JOB = (
    "An error occurred while calling o138.collectToPython.\n: org.apache.spark.SparkException: Job "
    "aborted due to stage failure: Task 0 in stage 1.0 failed 1 times, most recent failure: Lost task "
    "0.0 in stage 1.0 (TID 1) (192.0.2.2 executor driver): {}\n\tat org.apache.X(X.scala:1)\n"
)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (QUERY.format("Disk quota exceeded"), "Disk quota exceeded"),
        (JOB.format("org.apache.spark.SparkException: No more memory"), "No more memory"),
        (JOB.format("java.io.IOException: No space left"), "No space left"),
        (
            "An error occurred while calling o1.x.\n: java.io.EOFException\n\tat X",
            "java.io.EOFException",
        ),
    ],
)
def test_of_sparks_messages_it_is_what_they_are_about(text: str, cause: str) -> None:
    assert cause_in(text) == cause
    assert fault_in(text) == cause


def test_a_process_that_started_too_slowly_was_perhaps_not_killed() -> None:
    fault = fault_in(QUERY.format("Python worker failed to connect back."))
    assert "did not connect within 10 s (killed, or is the machine overloaded?)" in fault
    assert fault.endswith("nothing is lost: start it again, and it continues where it stopped")


@pytest.mark.parametrize(
    ("text", "who"),
    [
        (QUERY.format(""), "the process that reads the queue"),
        (QUERY.format("Broken pipe"), "the process that reads the queue"),
        (
            JOB.format(
                "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)."
            ),
            "one of Spark's Python processes",
        ),
    ],
)
def test_a_killed_process_is_named_with_what_happens_next(text: str, who: str) -> None:
    assert fault_in(text) == (
        f"{who} was killed (by the out-of-memory killer?): nothing is lost: start it again, and it "
        "continues where it stopped"
    )
