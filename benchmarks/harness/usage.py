"""Memory and processor time of a child and everything it starts, sampled. Linux only.

A child leads a session of its own. Whatever it starts stays in that session, even when the process in
between has ended.
"""

import os
import re
import resource
import threading
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.5  # a sample takes about 3 ms
PSS_EVERY = 4  # samples; the kernel walks all pages for it


def peak_rss() -> int:
    """The peak memory of this process so far, in bytes, with its libraries."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Usage:
    """Of all processes in the session ``leader``, from now on until :meth:`stop`."""

    def __init__(self, leader: int) -> None:
        self.peak_rss_bytes = 0  # of all processes at once; shared pages count for each of them
        self.peak_pss_bytes = 0  # the same, but a page shared by n processes counts 1/n for each
        self._leader = leader
        self._cpu: dict[tuple[int, float], float] = {}  # seconds so far, by process
        self._stopped = threading.Event()
        self._sampling = threading.Lock()
        self._sampler = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._sampler.start()

    def cpu_seconds(self) -> float:
        """User and system time so far; of a process that has ended, up to its last sample."""
        self._sample()
        return sum(self._cpu.values())

    def processes(self) -> list[int]:
        """The process ids that are now in the session."""

        def in_session(pid: int) -> bool:
            try:
                return os.getsid(pid) == self._leader
            except OSError:
                return False

        return [pid for pid in psutil.pids() if in_session(pid)]

    def stop(self) -> None:
        self._stopped.set()
        self._sampler.join()

    def _run(self) -> None:
        samples = 0
        while not self._stopped.wait(SAMPLE_SECONDS):
            self._sample()
            samples += 1
            if samples % PSS_EVERY == 0:
                self.peak_pss_bytes = max(self.peak_pss_bytes, sum(map(_pss, self.processes())))

    def _sample(self) -> None:
        rss = 0
        with self._sampling:
            for pid in self.processes():
                try:
                    process = psutil.Process(pid)
                    with process.oneshot():
                        times = process.cpu_times()
                        rss += process.memory_info().rss
                except psutil.Error:
                    continue  # it has just ended
                self._cpu[pid, process.create_time()] = times.user + times.system
            self.peak_rss_bytes = max(self.peak_rss_bytes, rss)


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:  # it has just ended
        return 0
    return sum(int(kb) << 10 for kb in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE))
