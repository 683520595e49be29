"""The ending: status, screen and log are as they should be, whatever the threads are doing."""

import json
import subprocess

from tests.support import scripts

BEFORE = "import threading, time\nfrom common import logs\nfrom processor.service import ending\n"


def run(script: str) -> subprocess.CompletedProcess[str]:
    return scripts.run(script, BEFORE)


def test_no_thread_keeps_it_from_ending() -> None:
    done = run("""
        threading.Thread(target=time.sleep, args=(600,)).start()
        print("done", end="")
        ending.end(0)
        """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done", "")


def test_what_was_logged_is_delivered_first() -> None:
    done = run("""
        import logging.handlers
        late = logging.handlers.MemoryHandler(99, target=logging.StreamHandler())
        logging.getLogger().addHandler(late)
        logging.getLogger().warning("the last line")
        ending.end(7)
        """)
    assert (done.returncode, done.stderr) == (7, "the last line\n")


def test_a_fault_is_one_line_of_whoever_notices_first() -> None:
    """Once Spark is ended, what waits for it fails too."""
    done = run("""
        logs.to_stdout("INFO")
        logs.adopt_stderr()
        ended = ending.end_children
        def end_children():
            second = threading.Thread(target=ending.fail, args=("the second",))
            second.start()
            second.join(0.3)
            ended()
        ending.end_children = end_children
        threading.Thread(target=ending.fail, args=("the\\n  first",)).start()
        time.sleep(60)
        """)
    assert (done.returncode, done.stderr) == (1, "error: the first\n")
    (line,) = map(json.loads, done.stdout.splitlines())
    assert (line["level"], line["message"]) == ("ERROR", "ended: the\n  first")


def test_what_a_look_at_the_fault_stirs_up_does_not_take_its_place() -> None:
    """A process that was stopped goes on to show its stacks, and the query may end by it."""
    done = run("""
        def look():
            second = threading.Thread(target=ending.fail, args=("the second",))
            second.start()
            second.join(0.3)
        ending.fail("the first", look)
        """)
    assert (done.returncode, done.stderr) == (1, "error: the first\n")


def test_once_spark_is_ended_that_it_does_not_answer_is_no_news() -> None:
    """py4j reports it through the root logger, from a finalizer say."""
    done = run("""
        import os, socket
        from py4j.java_gateway import GatewayParameters, JavaGateway
        def answer_nothing(jvm):
            while True:
                jvm.accept()[0].close()
        logs.to_stdout("INFO")
        jvm = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=answer_nothing, args=(jvm,), daemon=True).start()
        gateway = JavaGateway(gateway_parameters=GatewayParameters(port=jvm.getsockname()[1]))
        ending.end_children()
        try:
            gateway.jvm.System
        except Exception as error:
            print(type(error).__name__, flush=True)
        os._exit(0)
        """)
    assert done.stdout == "Py4JError\n"
