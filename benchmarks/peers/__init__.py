"""What our code is compared with, each peer in a process of its own.

Imports ``benchmarks.harness`` and ``benchmarks.workloads``.
"""
