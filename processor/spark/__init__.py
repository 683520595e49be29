"""Spark: its session, its background tasks, and what to do when a task kills its worker."""
