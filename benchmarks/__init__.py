"""Benchmarks: what the service costs and gains, as ratios against named peers; see README.md."""
