"""A summary, for tests of what is made of one."""

from datetime import UTC, datetime

from processor.report.summary import Fit, Group, Summary

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)

SUMMARY = Summary(
    at=NOON,
    bucket="fruits-photos",
    photos=30,
    labels=[("L", 20), ("", 10)],
    rejects=[
        Group("corrupt", 2, [("photos/<script>.jpg", "cannot be decoded"), ("photos/b", "x")])
    ],
    pending=[],
    stored=[(NOON.replace(hour=11), 30), (NOON, 0)],
    explained_variance=[0.5, 0.25],
    captured=1.0,
    fits=[Fit("20261127T115900-v1-abcdef", NOON, 30, "no model", 2, None)],
    network="vgg16-avg_pool-224-0123456789abcdef-reduced2-bilinear-vgg16-1",
    versions={"features/": "1", "reduced/": "1", "Python": "3.11.2"},
)
