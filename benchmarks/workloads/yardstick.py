"""The yardstick of `commit`: a store that stays small, in another process and another AWS.

``python -m benchmarks.workloads.yardstick URI WORK_DIR AWS_PID ROWS`` fills a store with ROWS rows and
prints ``"filled"``. For each line of its standard input it then makes one commit and prints its
:class:`CommitCost`. At the end of its input it deletes the store.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import boto3

from benchmarks.workloads.store_driver import CommitCost, StoreDriver
from common.layout import split


@contextmanager
def yardstick(endpoint_url: str, arguments: Sequence[str]) -> Iterator[Callable[[], CommitCost]]:
    """Starts the process in the AWS at this URL; gives a function that has it make one commit."""
    command = [sys.executable, "-m", "benchmarks.workloads.yardstick", *arguments]
    environment = os.environ | {"AWS_ENDPOINT_URL": endpoint_url}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as child:
        requests, answers = child.stdin, child.stdout
        if requests is None or answers is None:
            raise SystemExit("the yardstick has no pipes")

        def read() -> str:
            line = answers.readline()
            if not line:
                raise SystemExit(f"the yardstick exited with {child.wait()}")
            return line

        def commit() -> CommitCost:
            requests.write("commit\n")
            requests.flush()
            return CommitCost(**json.loads(read()))

        read()  # it is filled
        yield commit


def main(uri: str, work_dir: str, aws_pid: str, rows: str) -> None:
    """The process."""
    driver = StoreDriver(uri, Path(work_dir), int(aws_pid))
    driver.fill(range(int(rows)))
    print(json.dumps("filled"), flush=True)
    for _ in sys.stdin:
        print(json.dumps(asdict(driver.commit())), flush=True)
    bucket, prefix = split(uri)  # the next yardstick finds the AWS as this one did
    boto3.resource("s3").Bucket(bucket).objects.filter(Prefix=prefix).delete()


if __name__ == "__main__":
    main(*sys.argv[1:])
