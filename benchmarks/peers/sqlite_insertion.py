"""Plain insertion into SQLite: what one writes first to look keys up; a peer in `index`.

``python -m benchmarks.peers.sqlite_insertion FOLDER FILE`` inserts the table's rows, data file after
data file, into a table with a primary key and an index by file, in one transaction, and prints a
:class:`Run`.
"""

import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.harness.protocol import answer
from benchmarks.harness.usage import peak_rss
from benchmarks.workloads.indexing import Run, find_seconds
from processor.store import delta

READERS = 8


def main(folder: str, name: str) -> None:
    base, began, used = peak_rss(), time.monotonic(), time.process_time()
    table = delta.open_table(folder)
    assert table is not None
    paths = sorted(table.paths())
    connection = sqlite3.connect(name, isolation_level=None)
    connection.executescript(
        "pragma locking_mode = exclusive; pragma journal_mode = truncate; pragma synchronous = off;"
        "create table rows (key text primary key, version text not null, file integer not null)"
        " without rowid; create index rows_by_file on rows (file); begin"
    )
    with ThreadPoolExecutor(READERS) as pool:
        for at in range(0, len(paths), READERS):
            some = paths[at : at + READERS]
            read = pool.map(lambda path: table.read_columns(path, ("key", "version")), some)
            for number, rows in enumerate(read, at):
                columns = rows["key"].to_pylist(), rows["version"].to_pylist()
                connection.executemany(
                    "insert or replace into rows values (?, ?, ?)",
                    ((*row, number) for row in zip(*columns, strict=True)),
                )
    connection.execute("commit")
    seconds, cpu, rss = time.monotonic() - began, time.process_time() - used, peak_rss()
    ((count,),) = connection.execute("select count(*) from rows")
    query = "select version, file from rows where key = ?"
    find_s = find_seconds(
        lambda keys: sum(1 for key in keys if connection.execute(query, (key,)).fetchone()), count
    )
    answer(Run(seconds, cpu, rss, base, count, find_s, Path(name).stat().st_size))


if __name__ == "__main__":
    main(*sys.argv[1:])
