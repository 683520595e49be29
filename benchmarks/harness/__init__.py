"""What every benchmark needs: command line, child processes, machine, embedded AWS, service, photos.

Imports nothing from the rest of ``benchmarks``.
"""
