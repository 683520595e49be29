"""The script of a new instance, run for real, with a release from the embedded S3."""

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from infra_scripts.release import Release
from infra_scripts.template.resource import substituted
from infra_scripts.template.user_data import MOST_BYTES, script
from tests.support.aws import DeployedStack
from tests.support.templates import RELEASE, resolved, stack_on

INSTALLS = "#!/bin/bash\necho owner $(stat -c %u infra_scripts/install.sh)\npwd >{marker}\n"
FAILS = """#!/bin/bash
for n in $(seq 40); do echo line $n; done
echo 'error: no "Java" — é' >&2
exit 3
"""


class Machine:
    """A folder in place of the root of a machine, and programs in place of those that change one."""

    def __init__(self, root: Path, stack: DeployedStack) -> None:
        self.root = root
        self.stack = stack
        self.marker = root / "installed-in"
        self.signal = root / "signal.json"
        for folder in ("bin", "etc", "run", "var/log", "var/tmp"):
            (root / folder).mkdir(parents=True)
        self.program("python3", f'exec {sys.executable} "$@"')
        self.program("apt-get", 'echo "apt-get $*"')
        self.program("sleep", "")
        self.program("curl", f'[ "$9" = https://signal/?a=b ] && cp "$8" {self.signal}')

    def program(self, name: str, body: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def release(self, install: str) -> Release:
        """A release in the bucket whose install.sh is this."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            member = tarfile.TarInfo("infra_scripts/install.sh")
            body = install.format(marker=self.marker).encode()
            member.size, member.mode, member.uid = len(body), 0o755, 4711
            archive.addfile(member, io.BytesIO(body))
        self.stack.put("releases/r.tar.gz", packed.getvalue())
        digest = hashlib.sha256(packed.getvalue()).hexdigest()
        return Release(key="releases/r.tar.gz", sha256=digest)

    def start(self, release: Release) -> subprocess.CompletedProcess[str]:
        """Run the script as the first start of a machine would."""
        values = {"AWS::Region": os.environ["AWS_REGION"], "Handle": "https://signal/?a=b"}
        text = resolved(substituted(script(self.stack.stack, release, "Handle")), values)
        for folder in ("/etc/fruits", "/run/", "/var/log/", "/var/tmp/"):
            assert folder in text
            text = text.replace(folder, f"{self.root}{folder}")
        return subprocess.run(
            ["bash", "-c", text],
            env=os.environ | {"PATH": f"{self.root}/bin:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )

    def signalled(self) -> dict[str, str]:
        return json.loads(self.signal.read_text())


@pytest.fixture
def machine(tmp_path: Path, stack: DeployedStack) -> Machine:
    return Machine(tmp_path, stack)


def test_it_installs_the_release_and_reports(machine: Machine) -> None:
    done = machine.start(machine.release(INSTALLS))
    assert done.returncode == 0, done.stdout
    assert "apt-get -qq -o DPkg::Lock::Timeout=300 install -y" in done.stdout
    assert "release.tar.gz: OK" in done.stdout
    assert f"owner {os.getuid()}\n" in done.stdout  # not whoever packed it
    signal = machine.signalled()
    assert signal["Status"] == "SUCCESS"
    assert signal["UniqueId"]
    environment = machine.root / "etc/fruits/environment"
    region = os.environ["AWS_REGION"]
    assert environment.read_text() == f"AWS_REGION={region}\nFRUITS_LOGS__CLOUDWATCH=true\n"
    assert environment.stat().st_mode & 0o777 == 0o600
    unpacked = Path(machine.marker.read_text().strip())
    assert unpacked.is_relative_to(machine.root / "var/tmp")
    assert not unpacked.exists()


def test_a_failure_is_reported_with_the_end_of_the_log(machine: Machine) -> None:
    done = machine.start(machine.release(FAILS))
    assert done.returncode == 3
    signal = machine.signalled()
    assert signal["Status"] == "FAILURE"
    assert 'line 40 | error: no "Java" ? ?' in signal["Reason"]
    assert "line 30" not in signal["Reason"]
    assert "line 1\n" in done.stdout


def test_an_archive_with_other_bytes_is_not_unpacked(machine: Machine) -> None:
    release = machine.release(INSTALLS)
    done = machine.start(Release(key=release.key, sha256="0" * 64))
    assert done.returncode != 0
    assert "release.tar.gz: FAILED" in machine.signalled()["Reason"]
    assert not machine.marker.exists()


def test_what_is_not_there_yet_is_tried_again(machine: Machine) -> None:
    release = machine.release(INSTALLS)
    machine.program(
        "apt-get", f"[ -e {machine.root}/tried ] || {{ touch {machine.root}/tried; false; }}"
    )
    done = machine.start(release)
    assert done.returncode == 0, done.stdout
    assert "attempt 1 failed: apt-get" in done.stdout


def test_what_is_never_there_ends_it(machine: Machine) -> None:
    machine.program("apt-get", "exit 100")
    assert machine.start(RELEASE).returncode != 0
    assert "attempt 6 failed: apt-get" in machine.signalled()["Reason"]
    assert not machine.marker.exists()


def test_the_script_fits_and_only_names_to_fill_in_have_braces() -> None:
    text = script(stack_on("t2.xlarge"), RELEASE, "Handle")
    assert len(text.encode()) < MOST_BYTES / 4
    assert resolved(substituted(text), {"AWS::Region": "r", "Handle": "h"}).count("${") == 0
    assert "@" not in text.replace('"$@"', "")
