"""A warden: runs a command, and ends with its status once nothing is left of what that started.

``python -m tests.support.warden COMMAND``. Whoever started a process, and whatever session or group it
made for itself, the kernel gives orphans to the nearest living ancestor that wants them. So whatever the
command ever started, and still lives, descends from the warden.
"""

import contextlib
import os
import subprocess
import sys

from processor.spark import processes


def main() -> None:
    processes.keep_orphans()
    status = subprocess.Popen(sys.argv[1:], start_new_session=True).wait()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
