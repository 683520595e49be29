"""Where AWS credentials come from: profiles in files, and a fake of the instance's metadata."""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.endpoints import Silent, serving

SIGNING = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Profile:
    """The profile ``fruits``, and no credentials in variables."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self._patch = patch
        for name in SIGNING:
            patch.delenv(name, raising=False)
        patch.setenv("AWS_PROFILE", "fruits")
        patch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        self.config("")

    def config(self, lines: str, others: str = "") -> None:
        (self.folder / "config").write_text(f"[profile fruits]\n{lines}\n{others}")

    def credentials(self, key: str, profile: str = "fruits") -> None:
        """Static ones."""
        lines = f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = s\n"
        (self.folder / "credentials").write_text(lines)

    def process(self, key: str) -> None:
        """Credentials by a process, asked each time because they expire within minutes."""
        issued = self.folder / "issued.json"
        issued.write_text(json.dumps(_issued(key) | {"Version": 1, "SessionToken": f"of {key}"}))
        self.config(f"credential_process = /bin/cat {issued}")


class Metadata:
    """The instance's metadata; ``missing`` of its next answers are errors."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.missing = 0


@contextlib.contextmanager
def instance_role(patch: pytest.MonkeyPatch, key: str) -> Iterator[Metadata]:
    """An instance with a role, and no credentials in variables or files."""
    metadata = Metadata(key)

    class Serves(Silent):
        def answer(self) -> None:
            if metadata.missing:
                metadata.missing -= 1
                self.send(503, {}, b"")
            elif self.path == "/latest/api/token":
                self.send(200, {}, b"token")
            elif self.path.endswith("/security-credentials/"):
                self.send(200, {}, b"role")
            else:
                extra = {"Code": "Success", "Token": f"of {metadata.key}"}
                self.send(200, {}, json.dumps(_issued(metadata.key, hours=6) | extra).encode())

        do_GET = do_PUT = answer

    for name in SIGNING:
        patch.delenv(name, raising=False)
    patch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    with serving(Serves) as url:
        patch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        yield metadata


def _issued(key: str, hours: float = 0.1) -> dict[str, str]:
    expiration = datetime.now(UTC) + timedelta(hours=hours)
    return {
        "AccessKeyId": key,
        "SecretAccessKey": "secret",
        "Expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
