"""A release: the archive of the code that an instance installs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Where the archive is in the stack's bucket, and the SHA-256 of its bytes in lower-case hex."""

    key: str
    sha256: str
