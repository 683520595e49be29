"""Fixtures that all tests share: one embedded AWS and one Spark session a run."""

pytest_plugins = ["tests.aws"]
