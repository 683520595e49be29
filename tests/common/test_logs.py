"""The log: JSON lines on stdout, including everything that child processes write to stderr."""

import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import scripts

ROOT = Path(__file__).resolve().parents[2]


# In processes


def run(script: str) -> subprocess.CompletedProcess[str]:
    done = scripts.run(script)
    done.check_returncode()
    return done


def lines(text: str) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, text.splitlines())


def test_to_stdout_logs_all_but_the_chatter_of_libraries() -> None:
    done = run("""
        import logging
        from common import logs
        logging.basicConfig(level="DEBUG")
        logs.to_stdout("DEBUG")
        for name in ("ours", "botocore.hooks", "urllib3", "py4j.clientserver"):
            logging.getLogger(name).debug("a detail")
            logging.getLogger(name).warning("a warning")
        logs.to_stdout("ERROR")
        logging.getLogger("ours").warning("a warning")
        logging.getLogger("botocore").warning("a warning")
        logging.getLogger("botocore").error("an error")
        """)
    assert done.stderr == ""
    assert [(each["logger"], each["level"]) for each in lines(done.stdout)] == [
        ("ours", "DEBUG"),
        ("ours", "WARNING"),
        ("botocore.hooks", "WARNING"),
        ("urllib3", "WARNING"),
        ("py4j.clientserver", "WARNING"),
        ("botocore", "ERROR"),
    ]


def test_to_stderr_leaves_existing_logging_alone() -> None:
    done = run("""
        import logging
        from common import logs
        logs.to_stderr()
        logs.to_stderr()
        logging.getLogger("ours").info("on stderr")
        logging.getLogger("botocore").info("chatter")
        logs.to_stdout("INFO")
        logs.to_stderr()
        logging.getLogger("ours").info("on stdout")
        """)
    assert [each["message"] for each in lines(done.stderr)] == ["on stderr"]
    assert [each["message"] for each in lines(done.stdout)] == ["on stdout"]


ADOPT = """
    import logging, os, subprocess, sys, threading
    from common import logs

    class Ended(logging.Handler):
        seen = threading.Event()

        def emit(self, record):
            record.name.startswith("botocore")  # as handlers' filters look at it
            record.getMessage()
            if record.getMessage() == "the end":
                self.seen.set()

    def write(line):
        os.write(2, line.encode() + b"\\n")

    logs.to_stdout("INFO")
    logging.getLogger().addHandler(Ended())
    logs.adopt_stderr()
    {}
    write("the end")
    assert Ended.seen.wait(30)
    """


def adopted(script: str) -> list[dict[str, Any]]:
    """The log lines of everything that the script and its children write to stderr."""
    done = run(ADOPT.format(script))
    assert done.stderr == ""
    *found, end = lines(done.stdout)
    assert end["message"] == "the end"
    return found


def test_a_line_of_a_child_becomes_one_of_ours() -> None:
    child = (
        "import logging; from common import logs; logs.to_stderr(); "
        "logging.getLogger('a.child').warning('%d photos', 3, extra={'key': 'ü'}); "
        "logging.getLogger('a.child').error('bad', exc_info=ValueError('why'))"
    )
    first, second = adopted(f"subprocess.run([sys.executable, '-c', {child!r}], check=True)")
    first.pop("at")
    assert first == {"level": "WARNING", "logger": "a.child", "message": "3 photos", "key": "ü"}
    assert (second["level"], second["message"]) == ("ERROR", "bad")
    assert "ValueError: why" in second["exception"]


def test_other_text_is_logged_as_information() -> None:
    found = adopted("""
    write("Exception in thread main: %s %d")
    write("")
    print("of Python's own", file=sys.stderr, flush=True)
    subprocess.run("echo of a shell >&2", shell=True)
    os.write(2, b"caf\\xe9\\n")
    """)
    assert {(each["level"], each["logger"]) for each in found} == {("INFO", "stderr")}
    assert [each["message"] for each in found] == [
        "Exception in thread main: %s %d",
        "of Python's own",
        "of a shell",
        "caf\\xe9",
    ]


# A stdout that fails


BROKEN = """
    import logging, os, sys, time
    from common import logs
    logs.to_stdout("INFO")
    logs.adopt_stderr()
    log = logging.getLogger("ours")
    {}
    """


def test_a_reader_that_stands_still_costs_lines_and_never_blocks() -> None:
    script = BROKEN.format("""
    began = time.monotonic()
    for number in range(3000):
        log.info("line %d", number, extra={"more": "ü" * 200})
        os.write(2, b"of a child\\n")  # would block if nobody read it
    seconds = time.monotonic() - began
    print("slow" if seconds > 10 else "lively", file=open("/proc/self/fd/%d" % logs._stderr, "w"))
    sys.stdin.read(1)  # from now on somebody reads
    time.sleep(0.5)
    log.warning("again")
    """)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        assert b"stdout takes no log lines" in child.stderr.readline()
        assert child.stderr.readline() == b"lively\n"
        reader = threading.Thread(target=lambda: texts.extend(child.stdout or []))
        texts: list[bytes] = []
        reader.start()
        child.stdin.write(b"x")
        child.stdin.close()
        assert child.wait(30) == 0
        reader.join(30)
    assert b"line 0" in texts[0]
    found = [json.loads(text) for text in texts if text.startswith(b"{") and text.endswith(b"}\n")]
    assert len(texts) - len(found) <= 1  # the line that was cut off
    assert any("could not be written" in each["message"] for each in found)
    assert found[-1]["message"] == "again"


@pytest.mark.parametrize("gone", ["closed", "full"])
def test_a_stdout_that_fails_is_noted_once_and_harms_nobody(gone: str) -> None:
    # /dev/full behaves like a full disk.
    redirection = ">/dev/full" if gone == "full" else "| true"
    script = BROKEN.format("""
    time.sleep(0.5)
    for number in range(1000):
        log.info("line %d", number)
        os.write(2, b"of a child\\n")
    os.write(logs._stderr, b"the end\\n")
    """)
    command = f'"$0" -c "$1" {redirection}; exit "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    noted, end = done.stderr.splitlines()
    assert "stdout takes no log lines" in noted
    assert end == "the end"
    assert done.returncode == 0


ODD = [
    '{"a": 1}',
    "[1, 2]",
    '"text"',
    "null",
    "7",
    "1" * 5000,
    "[" * 30_000,
    '{"logger": "l", "message": "m", "level": "LOUD"}',
    '{"logger": "l", "message": "m", "level": []}',
]


def test_foreign_json_is_text() -> None:
    found = adopted("".join(f"write({line!r})\n    " for line in ODD))
    assert [each["message"] for each in found] == ODD
    assert {each["logger"] for each in found} == {"stderr"}


def test_foreign_json_with_our_fields_does_no_harm() -> None:
    odd = [
        {"logger": 5, "message": ["a"], "level": "ERROR"},
        {"logger": "l", "message": "%d", "level": "ERROR", "args": ["x"], "exc_info": "no"},
        {"logger": "l", "message": "m", "level": "ERROR", "at": "long ago", "name": "other"},
        {"logger": "l", "message": "password=x", "level": "ERROR", "_aws": {}, "Heartbeat": 1},
    ]
    found = adopted("".join(f"write({json.dumps(each)!r})\n    " for each in odd))
    assert [each["message"] for each in found] == ["['a']", "%d", "m", "password=[redacted]"]
    assert [each["logger"] for each in found] == ["5", "l", "l", "l"]
    assert not any("_aws" in each for each in found)
    assert {each["level"] for each in found} == {"ERROR"}
    assert "long ago" not in [each["at"] for each in found]
