"""What our code is made to do: drawn rows and photos, growing stores, refits, runs of the service.

Imports ``benchmarks.harness`` only.
"""
