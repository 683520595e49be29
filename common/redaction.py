"""Redaction: no secret leaves the process in a log line, or on the screen.

The second line of defence: nothing of ours logs a secret. But tracebacks, the messages of libraries and
what Spark's JVM writes are others' text.
"""

import os
import re
import threading
from collections.abc import Iterable

REDACTED = "[redacted]"
LEAST_LENGTH = 16  # of a known secret: a shorter one could be an ordinary word
MOST_KNOWN = (
    64  # the newest ones; temporary credentials are renewed for as long as the service runs
)
_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")

# Names of secrets, as in headers, queries, configurations and the reprs of dictionaries.
_NAMES = (
    r"authorization|proxy-authorization|x-amz-security-token|x-amz-signature|x-amz-credential|"
    r"(?:aws_?)?secret_?access_?key|(?:aws_?)?session_?token|(?:aws_?)?secret_?key|security_?token|"
    r"passw(?:or)?d|passphrase|fs\.s3a\.(?:secret\.key|session\.token)"
)
_NAME = re.compile(rf"(?:{_NAMES})", re.IGNORECASE)
_QUOTE = r"""\\*["']"""
_PATTERNS = (
    # A header with a scheme: all to the end of the quotes or the line.
    (
        re.compile(
            rf"((?:proxy-)?authorization(?:{_QUOTE})?\s*[:=,]\s*b?(?:{_QUOTE})?)"
            r"(?:AWS[34][\w-]*|Basic|Bearer|Digest)\s[^\"'\r\n]+",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(
            rf"(\b(?:{_NAMES})(?:{_QUOTE})?\s*[:=]\s*b?(?:{_QUOTE})?)(?!\[redacted)[^\s\"'&,;<>\\)}}\]]+",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(r"(<(SecretAccessKey|SessionToken)>)[^<]*(</\2>)", re.IGNORECASE),
        rf"\1{REDACTED}\3",
    ),
    (re.compile(r"(\bSignature=)[0-9A-Za-z%/+=]{20,}"), rf"\1{REDACTED}"),
    # How AWS' session tokens begin.
    (re.compile(r"\b(?:IQoJ|FwoG|FQoG|FQoD)[A-Za-z0-9+/=%]{60,}"), REDACTED),
    (re.compile(r"(\w://[^\s/:@\"']*:)[^\s/@\"']+(@)"), rf"\1{REDACTED}\2"),
)

# What every pattern needs: most texts have none of it, and cost a tenth.
_HINT = re.compile(
    r"authoriz|secret|token|credential|signature|passw|passphrase|://|IQoJ|FwoG|FQoG|FQoD",
    re.IGNORECASE,
)

_known: dict[str, None] = {}  # in the order in which they became known
_learning = threading.Lock()


def hide(*secrets: str | None) -> None:
    """From now on, redact these wherever they occur."""
    with _learning:
        for each in secrets:
            if each and len(each) >= LEAST_LENGTH:
                _known.pop(each, None)
                _known[each] = None
        while len(_known) > MOST_KNOWN:
            del _known[next(iter(_known))]


def without_known(text: str) -> str:
    """``text`` without the secrets that :func:`hide` was called with, and those in the environment."""
    for each in (*tuple(_known), *_in_environment()):
        if each in text:
            text = text.replace(each, REDACTED)
    return text


def is_clean(text: str) -> bool:
    """Whether there is nothing to redact in it; it may be False for a text without secrets."""
    return without_known(text) == text and not _HINT.search(text)


def redacted(text: str) -> str:
    """``text`` without known secrets, and without what looks like one by its name or its form."""
    text = without_known(text)
    if not _HINT.search(text):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def names_a_secret(name: str) -> bool:
    """Whether a field of this name is a secret, whatever its value."""
    return bool(_NAME.fullmatch(name))


def _in_environment() -> Iterable[str]:
    for name in _VARIABLES:
        value = os.environ.get(name, "")
        if len(value) >= LEAST_LENGTH:
            yield value
