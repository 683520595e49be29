"""Delta tables in S3 under test, and what a command shows of their errors."""

from common import aws_errors
from processor.store import delta


def one_line(error: BaseException) -> str:
    """As a command shows it."""
    assert isinstance(error, Exception)
    line = aws_errors.explain(error)
    assert line.isprintable()
    return line


def opened(uri: str) -> delta.Table:
    table = delta.open_table(uri)
    assert table
    return table
