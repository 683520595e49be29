"""The one error that a benchmark expects."""


class BenchError(RuntimeError):
    """The benchmark cannot measure; the message names the cause and, where there is one, the fix."""
