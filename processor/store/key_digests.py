"""Key digests: which keys a commit is about, in the few bytes that fit into its log entry.

Two keys may have the same digest. Then a key counts as named that was not, which costs its writer a
needless look; never the reverse.
"""

import base64
import hashlib
from collections.abc import Iterable

KEYS = "keys"  # of the commit metadata
DIGEST_BYTES = 4  # 2,048 keys take 11 kB; two of them meet in one of 2,000 pairs of such commits


def encode(keys: Iterable[str]) -> str:
    """The digests of ``keys``, as text."""
    return base64.b64encode(b"".join(sorted(set(map(_digest, keys))))).decode()


def named(keys: Iterable[str], digests: object) -> set[str]:
    """Those of ``keys`` whose digests are in a text by :func:`encode`; of any other value, all."""
    try:
        raw = base64.b64decode(digests, validate=True) if isinstance(digests, str) else None
    except ValueError:
        raw = None
    if raw is None or len(raw) % DIGEST_BYTES:
        return set(keys)
    found = {raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES)}
    return {key for key in keys if _digest(key) in found}


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).digest()
