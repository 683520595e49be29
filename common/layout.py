"""The layout of the bucket: where the photos are, and where everything computed from them is.

No other module spells these names out. They are part of the contract with readers of the tables.
"""

import re
from dataclasses import dataclass

STORE_FOLDERS = ("features/", "rejects/", "pending/", "reduced/", "models/")
REPORT_PAGE, REPORT_MAP = "reports/latest.html", "reports/map.parquet"
STORE_FILES = ("reduced.csv", "reconciliation.json", REPORT_PAGE, REPORT_MAP)
RELEASES = "releases/"  # the code that instances install; `deploy` writes there, the service never
# In delta-rs' URLs "#" and "?" end a path and "%20" is a blank; ".", ".." and "//" are not kept.
_PLAIN = re.compile(r"((?!\.{1,2}/)[A-Za-z0-9_.=-]+/)*")


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """The locations in one store: each is ``root``, whatever it ends in, followed by a fixed name.

    ``root`` is ``s3://bucket/`` plus ``storage.store_prefix``, or in benchmarks a local folder that
    ends in ``/``.
    """

    root: str

    @property
    def features(self) -> str:
        """The folder of the Delta table with one row per live photo."""
        return f"{self.root}features"

    @property
    def rejects(self) -> str:
        """The folder of the Delta table with one row per photo that cannot have features."""
        return f"{self.root}rejects"

    @property
    def pending(self) -> str:
        """The folder of the Delta table with one row per photo that waits to be tried again."""
        return f"{self.root}pending"

    @property
    def reduced(self) -> str:
        """The folder of the Delta table with the reduced matrix."""
        return f"{self.root}reduced"

    @property
    def reduced_csv(self) -> str:
        """The object with the matrix of the last refit as CSV."""
        return f"{self.root}reduced.csv"

    @property
    def report_page(self) -> str:
        """The object with the report, a page of HTML."""
        return f"{self.root}{REPORT_PAGE}"

    @property
    def report_map(self) -> str:
        """The object with the points of the report's map, as Parquet."""
        return f"{self.root}{REPORT_MAP}"

    @property
    def reconciliation(self) -> str:
        """The object that says how far the last reconciliation came, and what it found."""
        return f"{self.root}reconciliation.json"

    @property
    def pca_models(self) -> str:
        """The folder of the PCA models."""
        return f"{self.root}models/pca"

    def pca_model(self, name: str) -> str:
        """The object of one PCA model."""
        return f"{self.pca_models}/{name}.npz"

    @property
    def refit_lease(self) -> str:
        """The object of whoever refits. No reader of Delta tables looks into its folder."""
        return f"{self.features}/_leases/refit"

    @property
    def csv_lease(self) -> str:
        """The object of whoever writes the CSV."""
        return f"{self.features}/_leases/csv"

    @property
    def report_lease(self) -> str:
        """The object of whoever writes the report."""
        return f"{self.features}/_leases/report"

    @property
    def statistics(self) -> str:
        """The statistics cache: an object with the statistics of the features as last read."""
        return f"{self.root}models/statistics.npz"

    @property
    def partial_results(self) -> str:
        """The folder of what a refit's tasks have made for the driver."""
        return f"{self.root}models/partial"


@dataclass(frozen=True, slots=True)
class BucketLayout:
    """A bucket with photos under one prefix and a store beside them.

    Prefixes end in ``/``; ``store_prefix`` may be empty. Raises ValueError if one of the two contains
    any part of the other: the service would take its own files for photos, or delete photos as files
    that no table needs. Also for a ``store_prefix`` that is not the same to all libraries.
    """

    bucket: str
    photos_prefix: str = "photos/"
    store_prefix: str = ""

    def __post_init__(self) -> None:
        if not _PLAIN.fullmatch(self.store_prefix):
            raise ValueError(
                f"store_prefix {self.store_prefix!r} is not a path of letters, digits and _.=- like "
                "'store/v2/'; libraries disagree on where others point to"
            )
        names = (*STORE_FOLDERS, RELEASES, *STORE_FILES)
        stored = [f"{self.store_prefix}{name}" for name in names]
        if any(path.startswith(self.photos_prefix) for path in stored):
            raise ValueError(
                f"photos_prefix {self.photos_prefix!r} contains the store's folders, so the "
                "service would take its own files for photos; use a separate folder "
                "such as 'photos/'"
            )
        folders = tuple(path for path in stored if path.endswith("/"))
        if self.photos_prefix.startswith(folders):
            raise ValueError(
                f"photos_prefix {self.photos_prefix!r} lies in one of the store's folders, so the "
                "service would delete photos; use a separate folder such as 'photos/'"
            )

    @property
    def store(self) -> StoreLayout:
        return StoreLayout(f"s3://{self.bucket}/{self.store_prefix}")

    @property
    def stored_keys(self) -> tuple[str, ...]:
        """Patterns, in IAM's syntax, of the keys that the service writes."""
        folders = tuple(f"{self.store_prefix}{folder}*" for folder in STORE_FOLDERS)
        return folders + tuple(f"{self.store_prefix}{file}" for file in STORE_FILES)

    @property
    def releases(self) -> str:
        """The prefix of the releases' keys."""
        return f"{self.store_prefix}{RELEASES}"

    def is_photo(self, bucket: str, key: str, size: int | None) -> bool:
        """Whether an object counts as a photo: under our prefix, and not a "folder" of the console.

        That is an object without bytes whose key ends in a slash. ``size`` is None if it is unknown.
        """
        return self.contains(bucket, key) and not (key.endswith("/") and size == 0)

    def contains(self, bucket: str, key: str) -> bool:
        """Whether an object is under the photos' prefix of this bucket."""
        return bucket == self.bucket and key.startswith(self.photos_prefix)

    def label_of(self, key: str) -> str | None:
        """The name of the folder that a photo is in; None if it is directly under the prefix."""
        folders = key.removeprefix(self.photos_prefix).split("/")[:-1]
        return folders[-1] if folders else None


def split(uri: str) -> tuple[str, str]:
    """``s3://bucket/a/b`` as (``bucket``, ``a/b``)."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
