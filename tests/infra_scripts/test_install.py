"""install.sh: releases that follow each other, fail, are rolled back, and a script that is killed."""

import fcntl
import re
import shutil
from pathlib import Path

import pytest

from infra_scripts import release
from tests.support.installed import PYTHON, ROOT, Machine

KILLS = 3  # of each of what it does, spread over its calls that change something


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_release_is_installed_once(machine: Machine) -> None:
    first = machine.release("first")
    assert "is running" in machine.installs(first)
    assert (machine.link("current"), machine.link("previous")) == ("first", "")
    assert machine.running == "first"
    assert machine.config == "# of first\n"
    assert (machine.etc / "environment").stat().st_mode & 0o777 == 0o600
    assert machine.unit.read_text() == (first / "systemd" / "fruits.service").read_text()
    assert all("--require-hashes" in call for call in machine.pip_calls)
    assert "build.lock" in machine.pip_calls[0]
    again = machine.installs(first)
    assert "is installed already, and running" in again
    assert len(machine.pip_calls) == 2
    (machine.state / "running").unlink()
    assert "starting the service" in machine.installs(first)
    assert machine.running == "first"


def test_an_upgrade_keeps_one_release_and_shares_packages(machine: Machine) -> None:
    for name in ("first", "second"):
        machine.installs(machine.release(name))
    assert len(machine.pip_calls) == 2
    machine.installs(machine.release("third", lock="2.0"))
    assert len(machine.pip_calls) == 4
    assert (machine.link("current"), machine.link("previous")) == ("third", "second")
    assert machine.running == "third"
    assert len(list((machine.home / "releases").glob("*"))) == 2
    assert len(list((machine.home / "venvs").iterdir())) == 2
    machine.installs(machine.release("fourth", lock="2.0"))
    assert len(list((machine.home / "venvs").iterdir())) == 1


def test_an_edited_configuration_stays(machine: Machine) -> None:
    machine.installs(machine.release("first"))
    machine.installs(machine.release("second"))
    assert machine.config == "# of second\n"
    (machine.etc / "config.toml").write_text("# edited\n")
    (machine.etc / "environment").write_text("AWS_REGION=eu-west-1\n")
    (machine.etc / "environment").chmod(0o644)
    shown = machine.installs(machine.release("third"))
    assert "config.toml was edited and stays" in shown
    assert machine.config == "# edited\n"
    assert (machine.etc / "config.toml.new").read_text() == "# of third\n"
    assert (machine.etc / "environment").read_text() == "AWS_REGION=eu-west-1\n"
    assert (machine.etc / "environment").stat().st_mode & 0o777 == 0o640


def test_a_release_that_does_not_become_ready_is_taken_back(machine: Machine) -> None:
    machine.installs(machine.release("first"))
    machine.installs(machine.release("second"))
    done = machine.run(machine.release("third", broken=True))
    assert done.returncode == 1
    assert "  the last line of the log\ngoing back to release" in done.stdout
    assert done.stdout.endswith("is running again\n")
    assert (machine.link("current"), machine.link("previous")) == ("second", "first")
    assert (machine.running, machine.config, machine.faults) == ("second", "# of second\n", "")


def test_a_service_that_is_ill_with_any_release_says_so(machine: Machine) -> None:
    first = machine.release("first")
    (machine.state / "ill").touch()
    done = machine.run(first)
    assert done.returncode == 1
    assert "systemd goes on trying: correct what its log names" in done.stdout
    (machine.state / "ill").unlink()
    machine.installs(first)
    (machine.state / "ill").touch()
    done = machine.run(machine.release("second"))
    assert done.returncode == 1
    assert "becomes ready: correct what their logs name" in done.stdout
    assert machine.link("current") == "first"


def test_a_rollback_goes_to_the_release_before_and_back(machine: Machine) -> None:
    first, second = machine.release("first"), machine.release("second")
    machine.installs(first)
    done = machine.run(first, "--rollback")
    assert done.returncode == 1
    assert "there is no release before this one" in done.stdout
    machine.installs(second)
    for name, other in (("first", "second"), ("second", "first")):
        assert "is running" in machine.installs(second, "--rollback")
        assert (machine.running, machine.link("previous")) == (name, other)
        assert machine.config == f"# of {name}\n"


@pytest.mark.parametrize("what", ["install", "upgrade", "broken", "rollback"])
def test_it_may_be_killed_at_any_line(what: str, tmp_path: Path) -> None:
    """It is run again; then all is as if it had not been killed."""
    folder, before = tmp_path / "machine", tmp_path / "before"
    folder.mkdir()
    machine = Machine(folder)
    last = machine.release("last", lock="2.0", broken=what == "broken")
    if what != "install":
        machine.installs(machine.release("first"))
    if what == "rollback":
        machine.installs(last)
    options = ("--rollback",) if what == "rollback" else ()
    shutil.copytree(folder, before, symlinks=True)

    status, wanted = machine.run(last, *options).returncode, machine.snapshot()
    assert status == (what == "broken")
    calls = machine.calls
    assert calls > 2 * KILLS
    for kill_at in range(1, calls, calls // KILLS):
        shutil.rmtree(folder)
        shutil.copytree(before, folder, symlinks=True)
        assert machine.run(last, *options, kill_at=kill_at).returncode == -9
        assert machine.link("current") in ("", "first", "last")
        assert machine.run(last, *options).returncode == status
        assert machine.snapshot() == wanted, kill_at
        assert machine.faults == "", kill_at


@pytest.mark.parametrize("what", ["complete", "requirements.lock"])  # of packages, of a release
def test_what_is_half_removed_is_not_taken_for_whole(what: str, machine: Machine) -> None:
    """A kill while the third removes the first, which is then installed once more."""
    first = machine.release("first")
    machine.installs(first)
    machine.installs(machine.release("second", lock="2.0"))
    third = machine.release("third", lock="2.0")
    half = f'[ ! -e "$each/{what}" ] || {{ mv "$each"/[!c]* "$STATE"; kill -9 0; }}'
    machine.program("rm", f'for each; do {half}; done; exec /bin/rm "$@"')
    assert machine.run(third).returncode == -9
    machine.program("rm", 'exec /bin/rm "$@"')
    machine.installs(first)
    assert machine.link("current") == "first"
    assert (machine.home / "current" / ".venv" / "bin" / "python").exists()


def test_a_rollback_that_is_killed_keeps_both_releases_for_an_install(machine: Machine) -> None:
    machine.installs(machine.release("first"))
    last = machine.release("last")
    machine.installs(last)
    for kill_at in range(1, 40):
        killed = machine.run(last, "--rollback", kill_at=kill_at).returncode
        machine.installs(last)
        assert (machine.link("current"), machine.link("previous")) == ("last", "first"), kill_at
        if killed == 0:
            break
    assert killed == 0
    assert kill_at > 5


def test_a_service_that_still_stops_is_not_joined_by_another(machine: Machine) -> None:
    machine.installs(machine.release("first"))
    done = machine.run(machine.release("second"), STOPS="deactivating")
    assert done.returncode == 1
    assert "error: the service does not stop" in done.stdout
    assert machine.link("current") == "first"


def test_a_newer_python_makes_another_release(machine: Machine) -> None:
    """As after an upgrade of the system, with which the old one's Python has gone."""
    first = machine.release("first")
    machine.installs(first)
    before = (machine.home / "current").resolve()
    machine.program("python3", PYTHON.replace("python3.11", "python3.13"))
    machine.program("python3.13", PYTHON.replace("python3.11", "python3.13"))
    machine.installs(first)
    after = (machine.home / "current").resolve()
    assert (after / ".venv").resolve() != (before / ".venv").resolve()


def test_it_installs_what_a_release_is() -> None:
    script = (ROOT / "infra_scripts" / "install.sh").read_text()
    content = re.search(r"(?m)^CONTENT=\((.*)\)$", script)
    assert content
    assert {*content[1].split()} == {*release.FOLDERS, *release.FILES, release.CONFIGURATION}


def test_two_at_once(machine: Machine) -> None:
    first = machine.release("first")
    machine.installs(first)
    machine.program("flock", f'shift 2; exec {shutil.which("flock")} -n "$@"')  # without the wait
    with (machine.home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = machine.run(first)
    assert done.returncode == 1
    assert "another install.sh is at work" in done.stdout


def test_machines_that_it_does_not_install_on(machine: Machine, tmp_path: Path) -> None:
    first = machine.release("first")
    for name, version in (("debian", "11"), ("ubuntu", "18.04"), ("fedora", "42")):
        machine.os_release(name, version)
        assert f"error: this is {name} {version};" in machine.run(first).stdout
    for name, version in (("debian", "13"), ("ubuntu", "22.04"), ("ubuntu", "24.04")):
        machine.os_release(name, version)
        machine.installs(first)
    machine.program("id", "echo 1000")
    assert "run it as root" in machine.run(first).stdout
    machine.program("id", "echo 0")
    (tmp_path / "run").rmdir()
    done = machine.run(first)
    assert done.returncode == 1
    assert "systemd does not run this machine" in done.stdout


def test_what_is_missing_is_installed_and_an_old_python_passed_over(machine: Machine) -> None:
    """As on Ubuntu 22.04, whose python3 is 3.10."""
    machine.program("python3", "exit 1")
    machine.lacks("python3.11")
    machine.program(
        "dpkg", 'grep -qx "$2" "$STATE/packages" 2>/dev/null && echo "Status: install ok installed"'
    )
    machine.program(
        "apt-get",
        """while [ "$1" != install ]; do shift; done; shift 3
        for each; do echo "$each" >>"$STATE/packages"; done
        case "$*" in *python3.11*) ln -sf "$BIN/venv-maker" "$BIN/python3.11" ;; esac""",
    )
    machine.program("venv-maker", PYTHON)
    shown = machine.installs(machine.release("first"))
    assert shown.startswith("installing python3.11 with apt-get\n")
    assert shown.count("with apt-get") == 3
    packages = (machine.state / "packages").read_text().split()
    assert {"python3.11", "python3.11-venv", "gcc", "libc6-dev", "libseccomp2"} <= set(packages)
    machine.program("apt-get", "echo E: no such package; exit 100")
    (machine.state / "packages").write_text("")
    done = machine.run(machine.release("second"))
    assert done.returncode == 1
    assert "E: no such package\nerror: apt-get cannot install" in done.stdout


@pytest.mark.parametrize(("debian", "java"), [("12", "17"), ("13", "21")])
def test_the_java_of_the_system_is_installed(debian: str, java: str, machine: Machine) -> None:
    machine.os_release("debian", debian)
    machine.lacks("java")
    machine.program("dpkg", "case $2 in openjdk*) ;; *) echo Status: ok installed ;; esac")
    machine.program("apt-get", 'echo "$*" >>"$STATE/apt"; ln -s java-new "$BIN/java"')
    machine.program("java-new", f"echo 'openjdk version \"{java}.0.1\"' >&2")
    machine.installs(machine.release("first"))
    (call,) = (machine.state / "apt").read_text().splitlines()
    assert call.endswith(f"--no-install-recommends openjdk-{java}-jre-headless")


def test_packages_that_pip_cannot_install(machine: Machine) -> None:
    first = machine.release("first")
    (machine.state / "no-pip").touch()
    done = machine.run(first)
    assert done.returncode == 1
    assert done.stdout.endswith("error: pip could not install the packages; its message is above\n")
    assert machine.link("current") == ""
    (machine.state / "no-pip").unlink()
    machine.installs(first)


def test_restarts_back_off_where_systemd_can(machine: Machine) -> None:
    first = machine.release("first")
    drop_in = machine.unit.parent / "fruits.service.d" / "10-backoff.conf"
    machine.installs(first)
    assert not drop_in.exists()
    assert machine.run(machine.release("second"), SYSTEMD="255").returncode == 0
    assert "RestartSteps=" in drop_in.read_text()


def test_its_help_and_wrong_options(machine: Machine) -> None:
    first = machine.release("first")
    done = machine.run(first, "--help")
    assert (done.returncode, done.stdout[:6]) == (0, "usage:")
    done = machine.run(first, "--sideways")
    assert done.returncode == 1
    assert done.stdout.endswith("error: unknown option: --sideways\n")
