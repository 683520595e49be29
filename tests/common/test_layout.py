"""The layout of the bucket: places of the store, what lies under the prefix, labels."""

import pytest

from common.layout import STORE_FILES, STORE_FOLDERS, BucketLayout, StoreLayout, split

LAYOUT = BucketLayout("bucket", "photos/", "v2/")


def test_locations_in_the_store() -> None:
    store = LAYOUT.store
    assert store.features == "s3://bucket/v2/features"
    assert store.rejects == "s3://bucket/v2/rejects"
    assert store.reduced == "s3://bucket/v2/reduced"
    assert store.reduced_csv == "s3://bucket/v2/reduced.csv"
    assert store.pca_model("x") == "s3://bucket/v2/models/pca/x.npz"
    assert store.statistics == "s3://bucket/v2/models/statistics.npz"
    assert StoreLayout("/tmp/store/").features == "/tmp/store/features"


def test_every_location_is_one_that_the_service_may_write() -> None:
    store = LAYOUT.store
    folders = [
        store.features,
        store.rejects,
        store.pending,
        store.reduced,
        store.pca_models,
        store.partial_results,
        store.refit_lease,
        store.csv_lease,
        store.report_lease,
        store.statistics,
    ]
    files = [store.reduced_csv, store.reconciliation, store.report_page, store.report_map]
    for location in [f"{each}/" for each in folders] + files:
        _, key = split(location)
        inside = key.removeprefix("v2/")
        assert inside.startswith(STORE_FOLDERS) or inside in STORE_FILES
    assert set(LAYOUT.stored_keys) == {
        "v2/features/*",
        "v2/rejects/*",
        "v2/pending/*",
        "v2/reduced/*",
        "v2/models/*",
        "v2/reduced.csv",
        "v2/reconciliation.json",
        "v2/reports/latest.html",
        "v2/reports/map.parquet",
    }
    assert LAYOUT.releases == "v2/releases/"  # read by an instance, written by `deploy` alone


@pytest.mark.parametrize("prefix", ["", "v2/", "v2/features/", "v2/reduced", "v2/releases/"])
def test_the_photos_prefix_must_not_contain_the_store(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"contains the store's folders"):
        BucketLayout("bucket", prefix, "v2/")


@pytest.mark.parametrize(
    "prefix", ["v2/features/raw/", "v2/models/pca/x/", "v2/reduced/a/b/", "v2/releases/new/"]
)
def test_the_store_must_not_contain_the_photos(prefix: str) -> None:
    """Vacuum would delete them."""
    with pytest.raises(ValueError, match=r"would delete photos"):
        BucketLayout("bucket", prefix, "v2/")


PLAIN = ["", "v2/", "team=fruits/v2.1/", "a/..b/", "a.b/"]
NOT_PLAIN = [
    "v#2/",
    "v?/",
    "v%20/",
    "v 2/",
    "../",
    "a/../b/",
    "./",
    "a//b/",
    "/",
    "v\n/",
    "caf\u00e9/",
    "v",
]


@pytest.mark.parametrize("prefix", PLAIN + NOT_PLAIN)
def test_the_stores_prefix_means_the_same_to_every_library(prefix: str) -> None:
    if prefix in PLAIN:
        assert BucketLayout("bucket", store_prefix=prefix).store.features.endswith(
            f"{prefix}features"
        )
    else:
        with pytest.raises(ValueError, match=r"store_prefix .* is not a path"):
            BucketLayout("bucket", store_prefix=prefix)


@pytest.mark.parametrize(
    ("bucket", "key", "inside"),
    [
        ("bucket", "photos/a.jpg", True),
        ("bucket", "features/a.jpg", False),
        ("another", "photos/a.jpg", False),
    ],
)
def test_what_lies_under_the_prefix(bucket: str, key: str, inside: bool) -> None:
    assert LAYOUT.contains(bucket, key) is inside


@pytest.mark.parametrize(
    ("key", "label"),
    [("photos/a.jpg", None), ("photos/Apple/a.jpg", "Apple"), ("photos/a/b c/d.jpg", "b c")],
)
def test_label(key: str, label: str | None) -> None:
    assert LAYOUT.label_of(key) == label


def test_split() -> None:
    assert split("s3://bucket/a/b") == ("bucket", "a/b")
    assert split("s3://bucket") == ("bucket", "")


def test_what_the_console_calls_a_folder_is_not_a_photo() -> None:
    assert LAYOUT.is_photo("bucket", "photos/Apple/a.jpg", 0)
    assert LAYOUT.is_photo("bucket", "photos/Apple/", 1)
    assert LAYOUT.is_photo("bucket", "photos/Apple/", None)
    assert not LAYOUT.is_photo("bucket", "photos/Apple/", 0)
    assert not LAYOUT.is_photo("another", "photos/a.jpg", 1)
