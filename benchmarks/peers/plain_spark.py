"""Spark for the peers, as people start it: on all cores of this machine, untuned."""

import os
import sys

from pyspark.sql import SparkSession

from processor.spark.resources import cores


def start(folder: str, **driver_settings: str) -> SparkSession:
    """A session with its files in ``folder`` and each of the settings as ``spark.driver.NAME``."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # not whatever PATH calls python3
    builder = (
        SparkSession.builder.master(f"local[{cores()}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.local.dir", folder)
    )
    for name, value in driver_settings.items():
        builder = builder.config(f"spark.driver.{name}", value)
    return builder.getOrCreate()
