"""What systemd is told, by a socket that stands in for its own."""

import socket
from pathlib import Path

import pytest

from processor.service import systemd


@pytest.mark.parametrize("abstract", [False, True])
def test_states_are_one_datagram(
    abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"@{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        systemd.tell(systemd.more_time(1.5), "STATUS=starting")
        assert listening.recv(100) == b"EXTEND_TIMEOUT_USEC=1500000\nSTATUS=starting"


@pytest.mark.parametrize("address", ["", "/none/such"])
def test_nobody_who_listens_is_no_fault(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.tell("READY=1")
