"""delta-rs and AWS: it reaches S3 where, and as whom, boto3 does, and its errors mean the same.

What delta-rs says over ten coloured lines becomes one line with the whole cause:

- botocore's ``ClientError`` for a response of S3, and its ``ConnectionError`` where none came, so that
  :mod:`common.aws_errors` explains them, and tells what may pass, as it does for boto3's own;
- :class:`~processor.errors.CommitConflict` where another commit came first;
- :class:`~processor.errors.ServiceError` where the table was deleted while it was in use;
- :class:`~processor.errors.StoreError` for everything else: a damaged log, a table that forbids what
  we do.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import unescape

from botocore import exceptions as boto
from deltalake.exceptions import CommitFailedError, DeltaError

from common import aws
from common.layout import split
from processor.errors import CommitConflict, ServiceError, StoreError
from processor.store import altered

_TOKENS = {"aws_session_token", "aws_token", "session_token", "token"}  # read in any case
_COLOUR = re.compile(r"\x1b\[\d*m")
_FRAME = re.compile(r"\d+: \S|at \S+:\d+")  # a line of a Rust backtrace
_REQUEST = re.compile(r"Error performing (?P<method>[A-Z]+) (?P<url>\S+)")
_STATUS = re.compile(r"returned [\w -]*status(?: code)?: (?P<status>\d{3})")
_REDIRECT = "redirect without LOCATION"  # how S3 says that the bucket is in another region
_BROKEN_OFF = "HTTP error: "  # of a response whose beginning came; the request is not named then
_GONE = "Invalid table version"  # the one that was read before is no longer there
_ALTERED = ("Unsupported", "not supported", "Schema error")
_CONFLICT = ("Failed to commit transaction", "Tried committing existing table version")


def storage_options(folder: str) -> dict[str, str] | None:
    """Where delta-rs finds the bucket, and whom it asks as: all as boto3 does. None for a local folder.

    What is not in here it takes from variables by a chain of its own. Raises what
    :func:`common.aws.credentials` raises, and :class:`StoreError` for a variable that would change the
    signature.
    """
    if not folder.startswith("s3://"):
        return None
    url = aws.bucket_url(split(folder)[0])
    signer = aws.credentials()
    options = {
        "aws_endpoint": url,
        "aws_endpoint_url_s3": url,  # a variable of this name would precede the other
        "aws_virtual_hosted_style_request": "true",  # delta-rs does not add the bucket's name
        "aws_allow_http": str(url.startswith("http://")).lower(),
        "aws_region": aws.s3().meta.region_name or "us-east-1",
        "aws_access_key_id": signer.access_key,
        "aws_secret_access_key": signer.secret_key,
    }
    if bundle := aws.ca_bundle():
        options["certificate_path"] = bundle  # trusted beside the machine's own
    if signer.token:
        options["aws_session_token"] = signer.token
    elif stray := [name for name in os.environ if name.lower() in _TOKENS]:
        raise StoreError(
            f"unset the variable {stray[0]}: delta-rs would take it for the session token of the AWS "
            "credentials, which have none"
        )
    return options


@contextlib.contextmanager
def translated(folder: str) -> Iterator[None]:
    """Raise what delta-rs raises about the table at ``folder`` as the errors of this module."""
    try:
        yield
    except (DeltaError, OSError) as error:
        if isinstance(error, boto.BotoCoreError):  # some of them are OSErrors
            raise
        raise _translation(error, folder) from error


def _translation(error: Exception, folder: str) -> Exception:
    text = _one_line(str(error))
    if isinstance(error, CommitFailedError) and text.startswith(_CONFLICT):
        return CommitConflict(f"{folder}: {text}")
    request = _REQUEST.search(text)
    if request is None:
        if _BROKEN_OFF in text:
            broken: Exception = boto.ConnectionError(error=f"{folder}: {text}")
            return broken
        if _GONE in text:
            return ServiceError(
                f"{folder} was deleted or replaced ({text}): start the service again"
            )
        if isinstance(error, CommitFailedError) or any(word in text for word in _ALTERED):
            return altered.unsupported(folder, text)
        return StoreError(f"{folder}: {text}")
    target = " ".join(request.groups())
    response = _STATUS.search(text)
    if response is None and _REDIRECT not in text:
        cause = text[request.end() :].partition(" - ")[2]
        no_response: Exception = boto.ConnectionError(error=f"{target}: {cause}")
        return no_response
    status = response["status"] if response else "301"
    described: Any = {
        "Error": {
            "Code": _element(text, "Code") or status,
            "Message": ", ".join(filter(None, (_element(text, "Message"), target))),
        },
        "ResponseMetadata": {"HTTPStatusCode": int(status)},
    }
    refused: Exception = boto.ClientError(described, _operation(*request.groups()))
    return refused


def _one_line(text: str) -> str:
    """Without colours, indentation and backtrace; ``: `` between a line and its cause."""
    lines = (line.strip().removeprefix("↳").strip() for line in _COLOUR.sub("", text).splitlines())
    return ": ".join(line for line in lines if line and not _FRAME.match(line))


def _element(text: str, name: str) -> str:
    """The content of an element of S3's error document, empty if it is not there."""
    found = re.search(f"<{name}>(.*?)</{name}>", text)
    return unescape(found[1]) if found else ""


def _operation(method: str, url: str) -> str:
    """botocore's name for a request."""
    match method:
        case "GET":
            return "ListObjectsV2" if "?list-type=" in url else "GetObject"
        case "DELETE":
            return "DeleteObject"
        case "HEAD":
            return "HeadObject"
        case _:
            return "PutObject"
