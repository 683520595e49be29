"""The photos of the trial, their bucket, and whether the tables are the bucket."""

import io
import itertools
import os
from collections.abc import Mapping

from demo.fruit import SPECIES
from demo.sample import draw
from tests.soak.bucket import SoakBucket
from tests.support.heif import heic


class Photos:
    """A deployed bucket, photos that are put into it, and the tables compared with it."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._bucket = SoakBucket(dict(settings), versioned=False)
        self._numbers = itertools.count(1)

    def put(self, count: int) -> None:
        """Put so many photos, each another one."""
        for number in itertools.islice(self._numbers, count):
            species = SPECIES[number % len(SPECIES)]
            target = io.BytesIO()
            draw(species, number).save(target, "JPEG")
            self._put(f"photos/{species.name}/{number:04}.jpg", target.getvalue())

    def put_heic(self) -> None:
        number = next(self._numbers)
        self._put(f"photos/{SPECIES[0].name}/{number:04}.heic", heic(draw(SPECIES[0], number)))

    def _put(self, key: str, body: bytes) -> None:
        self._bucket.s3.put_object(Bucket=self._bucket.name, Key=key, Body=body)

    def live(self) -> dict[str, str]:
        """The version of each photo."""
        pages = self._bucket.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket.name, Prefix="photos/"
        )
        return {
            each["Key"]: each["ETag"].strip('"')
            for page in pages
            for each in page.get("Contents", ())
        }

    def differences(self) -> list[str]:
        """Where the tables are not the bucket."""
        live, rows = self.live(), self._bucket.stored()
        stored = {each.key: each.version for each in rows}
        found = [f"{key}: no row" for key in live.keys() - stored.keys()]
        found += [f"{key}: a row without a photo" for key in stored.keys() - live.keys()]
        found += [
            f"{key}: a row of another version"
            for key in live.keys() & stored.keys()
            if live[key] != stored[key]
        ]
        if len(rows) != len(stored):
            found.append(f"{len(rows)} rows of {len(stored)} photos")
        for table in ("rejects", "pending"):
            found += [f"{each.key}: {table}, {each.reason}" for each in self._bucket.noted(table)]
        return found

    def is_stored(self) -> bool:
        return not self.differences()

    def matrix_fault(self) -> str | None:
        """What is not as it should be about the matrix, which background tasks refit; None if all is."""
        return self._bucket.matrix_fault()

    def rests(self) -> list[str]:
        """What else is not as it should be once all is stored: messages that are left."""
        letters = self._bucket.dead_letters()
        return [f"a dead letter: {body[:200]}" for body in letters]


def settings(name: str) -> dict[str, str]:
    """Variables of the service: a small network, and limits that the trial need not wait for long."""
    return {
        "FRUITS_STORAGE__BUCKET": name,
        "FRUITS_QUEUE__NAME": name,
        "FRUITS_QUEUE__DEAD_LETTER_NAME": f"{name}-dead",
        "FRUITS_QUEUE__VISIBILITY_TIMEOUT_SECONDS": "10",
        "FRUITS_BATCH__MAX_SECONDS": "5",
        "FRUITS_MODEL__WEIGHTS": "random",
        "FRUITS_MODEL__INPUT_SIZE": "100",
        "FRUITS_MODEL__ENGINE": "winograd",
        "FRUITS_PCA__COMPONENTS": "3",
        "FRUITS_UPKEEP__RECONCILE_INTERVAL_SECONDS": "0",  # it would mend what is lost
        "FRUITS_SERVICE__STALL_SECONDS": "20",
        "FRUITS_LOGS__GROUP": f"/{name}",
    }


def environment_file(values: Mapping[str, str]) -> str:
    """The text of /etc/fruits/environment: these settings, and the AWS of this process."""
    aws = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    return "".join(f"{name}={text}\n" for name, text in {**aws, **values}.items())
