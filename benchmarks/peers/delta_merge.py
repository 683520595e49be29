"""delta-rs' own MERGE: what people write to have each key once; a peer in `commit`.

``python -m benchmarks.peers.delta_merge FOLDER SEED TIMES PHOTOS`` merges so many new photos into the
features table, so many times, and prints the seconds of each as JSON, beginning with an open table.
"""

import json
import sys
import time

from deltalake import DeltaTable

from benchmarks.workloads import drawn_features
from processor.store.delta_aws import storage_options


def main(folder: str, seed: str, times: str, photos: str) -> None:
    seconds = []
    blocks = drawn_features.drawn(int(times) * int(photos), int(seed), int(photos))
    for number, block in enumerate(blocks):
        table = DeltaTable(folder, storage_options=storage_options(folder))
        rows = drawn_features.table(block, f"merged-{seed}-{number}")
        began = time.perf_counter()
        merger = table.merge(rows, "old.key = new.key", source_alias="new", target_alias="old")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
