"""What can go wrong with the AWS stack, each in one line that names the cause and the fix.

Errors::

    InfraError
    ├── EmbeddedAwsError   the embedded AWS did not start, or is not running
    └── StackError         the stack could not be read or changed
        ├── Denied         the credentials are missing, invalid or lack a permission
        ├── Unreachable    the endpoint did not answer
        └── Conflict       something exists that this stack must not take over or cannot share

Whatever a StackError leaves half-done, the same command continues once the cause is fixed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from common import aws_errors


class InfraError(RuntimeError):
    """The base of all; its text is one line for the person at the terminal."""


class EmbeddedAwsError(InfraError):
    """The embedded AWS did not start, or is not running."""


class StackError(InfraError):
    """The stack is as it was, or changed in part: the same command again converges."""


class Denied(StackError):
    """AWS does not know the caller, or does not allow it to do this."""


class Unreachable(StackError):
    """The endpoint did not answer; whether the last request took effect is unknown."""


class Conflict(StackError):
    """What exists belongs to somebody else or serves another purpose; it was not changed."""


@contextmanager
def as_stack_errors() -> Iterator[None]:
    """Raise every AWS error inside as a :class:`StackError`. Also a decorator."""
    try:
        yield
    except aws_errors.EndpointError as error:
        raise StackError(str(error)) from error
    except aws_errors.ERRORS as error:
        raise stack_error(error) from error


def stack_error(error: ClientError | BotoCoreError) -> StackError:
    """The error of our tree, in one line, for an error of boto3."""
    # No hint at the service's policy: whoever deploys needs more than that grants.
    message = aws_errors.explain(error, hint="")
    if aws_errors.is_refusal(error):
        return Denied(message)
    if aws_errors.is_unreachable(error):
        return Unreachable(message)
    return StackError(message)
