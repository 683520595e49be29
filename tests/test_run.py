"""The command ``run``: what it installs and when, and which failed attempts it shows.

The real script runs, in a separate folder, with a PATH that has stand-ins for every program that it
installs with or looks for. Nothing is installed.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("bash", "cat", "dirname", "env", "grep", "ln", "mkdir", "rm", "sed", "sha256sum", "touch")
PRODUCTION, DEVELOPMENT = "requirements.txt", "requirements-dev.txt"

COMPLAINT = 'echo "ensurepip is not available"; echo "and on stderr" >&2; exit 1'
MAKES_VENV = 'mkdir -p "$3/bin"; ln -s "$BIN/venv-python" "$3/bin/python"'
PYTHON = """case "$*" in
  -V) echo Python 3.12.0 ;;
  "-m venv "*) %s ;;
esac"""
JAVA = "echo 'openjdk version \"17.0.1\"' >&2"
NO_PACKAGE = 'echo "E: Unable to locate package" >&2; exit 100'


class Machine:
    """A clone of the repository on a machine whose programs are stand-ins."""

    def __init__(self, folder: Path) -> None:
        self._clone, self._programs, self._calls = (
            folder / "clone",
            folder / "bin",
            folder / "calls",
        )
        self._clone.mkdir()
        self._programs.mkdir()
        shutil.copy(ROOT / "run", self._clone)
        for name in (PRODUCTION, DEVELOPMENT):
            self.write(name, "first")
        for name in TOOLS:
            (self._programs / name).symlink_to(str(shutil.which(name)))
        self.program("id", "echo 0")
        self.program("java", JAVA)
        self.program("gcc", ":")
        self.program("python3", PYTHON % MAKES_VENV)
        self.program("venv-python", 'echo "$*" >>"$CALLS"')

    def program(self, name: str, body: str) -> None:
        path = self._programs / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def lacks(self, name: str) -> None:
        (self._programs / name).unlink()

    def write(self, name: str, content: str) -> None:
        path = self._clone / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)

    @property
    def has_venv(self) -> bool:
        return (self._clone / ".venv").exists()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``./run ARGUMENTS``; its ``stdout`` has stderr in it too, as on a screen."""
        return subprocess.run(
            [self._clone / "run", *arguments],
            env={"PATH": str(self._programs), "BIN": str(self._programs), "CALLS": self._calls},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )

    def installs(self, *arguments: str) -> list[str]:
        """The requirements files that ``./run ARGUMENTS`` gives to pip; it must succeed."""
        self._calls.write_text("")
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout
        calls = self._calls.read_text().splitlines()
        return [call.rpartition(" -r ")[2] for call in calls if call.startswith("-m pip install ")]

    def archives(self, *arguments: str) -> int:
        """How often ``./run ARGUMENTS`` makes a class archive; it must succeed."""
        self.installs(*arguments)
        calls = self._calls.read_text().splitlines()
        return calls.count("-m processor.spark.class_archive")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_setup_installs_what_the_service_needs_and_the_others_the_rest(machine: Machine) -> None:
    assert machine.installs("setup") == [PRODUCTION]
    assert machine.installs("setup") == []
    assert machine.installs("test") == [DEVELOPMENT]
    for command in ("setup", "test", "lint", "demo", "setup"):
        assert machine.installs(command) == []


@pytest.mark.parametrize("command", ["demo", "notebook", "lint", "test", "systemd", "bench engine"])
def test_commands_that_need_development_packages(machine: Machine, command: str) -> None:
    machine.write("benchmarks/engine.py", "")
    assert machine.installs(*command.split()) == [DEVELOPMENT]
    assert machine.installs("setup") == []


def test_changed_requirements_are_installed(machine: Machine) -> None:
    machine.installs("test")
    machine.write(DEVELOPMENT, "second")
    assert machine.installs("setup") == []
    assert machine.installs("test") == [DEVELOPMENT]
    machine.write(PRODUCTION, "second")
    assert machine.installs("setup") == [PRODUCTION]
    assert machine.installs("test") == [
        DEVELOPMENT
    ]  # with new versions, those of the rest may have to change too
    machine.write(PRODUCTION, "first")
    assert machine.installs("lint") == [DEVELOPMENT]


def test_an_installation_that_failed_is_repeated(machine: Machine) -> None:
    machine.installs("test")
    machine.write(DEVELOPMENT, "second")
    machine.program("venv-python", 'case "$*" in *pip*) echo no such package >&2; exit 1 ;; esac')
    done = machine.run("test")
    assert done.returncode == 1
    assert done.stdout.endswith(
        "no such package\nerror: pip could not install requirements-dev.txt; its message is above\n"
    )
    machine.write(DEVELOPMENT, "first")  # the failed one may have got halfway
    machine.program("venv-python", 'echo "$*" >>"$CALLS"')
    assert machine.installs("test") == [DEVELOPMENT]


def test_a_fallback_that_works_shows_no_error(machine: Machine) -> None:
    """As on Debian without python3-venv and with outdated package lists."""
    broken = f'mkdir -p "$3/bin"; [ -e "$BIN/ensurepip" ] || {{ {COMPLAINT}; }}; {MAKES_VENV}'
    machine.program("python3", PYTHON % broken)
    machine.program(
        "apt-get",
        f"""case "$*" in
          *update) touch "$BIN/lists" ;;
          *install*python3-venv) [ -e "$BIN/lists" ] || {{ {NO_PACKAGE}; }}; touch "$BIN/ensurepip" ;;
        esac; echo "noise of apt-get"; echo "noise of apt-get" >&2""",
    )
    done = machine.run("setup")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "making a virtual environment with Python 3.12.0",
        "installing python3-venv with apt-get",
        "installing requirements.txt into .venv (a few minutes, once)",
        "archiving Spark's classes, so that it starts sooner (half a minute, once)",
    ]


@pytest.mark.parametrize("venv", [COMPLAINT, f"{MAKES_VENV}; {COMPLAINT}"], ids=["none", "half"])
@pytest.mark.parametrize("apt_helps", [True, False])
def test_when_all_attempts_fail_the_causes_are_shown(
    machine: Machine, venv: str, apt_helps: bool
) -> None:
    machine.program("python3", PYTHON % venv)
    machine.program("apt-get", "" if apt_helps else f'case "$*" in *install*) {NO_PACKAGE} ;; esac')
    done = machine.run("setup")
    assert done.returncode == 1
    shown = done.stdout.splitlines()
    assert shown[-1] == "error: cannot make a virtual environment: apt-get install python3-venv"
    assert shown.count("ensurepip is not available") == shown.count("and on stderr") == 1
    assert shown.count("E: Unable to locate package") == (0 if apt_helps else 1)
    assert not machine.has_venv


def test_a_machine_without_apt(machine: Machine) -> None:
    machine.program("python3", PYTHON % COMPLAINT)
    done = machine.run("setup")
    assert done.returncode == 1
    assert "ensurepip is not available\nand on stderr\nerror: cannot make" in done.stdout


def test_a_python_other_than_the_default_has_its_own_venv_package(machine: Machine) -> None:
    machine.program("python3", "echo too old; echo too old >&2; exit 1")
    broken = f'[ -e "$BIN/ensurepip" ] || {{ {COMPLAINT}; }}; {MAKES_VENV}'
    machine.program("python3.12", PYTHON % broken)
    machine.program("apt-get", 'case "$*" in *python3.12-venv) touch "$BIN/ensurepip" ;; esac')
    done = machine.run("setup")
    assert done.returncode == 0
    assert "installing python3.12-venv with apt-get" in done.stdout
    assert "too old" not in done.stdout


def test_a_compiler_is_installed_if_there_is_none(machine: Machine) -> None:
    machine.lacks("gcc")
    machine.program("venv-python", 'case "$*" in *ziglang*) exit 1 ;; esac; echo "$*" >>"$CALLS"')
    machine.program("apt-get", 'case "$*" in *" gcc") ln -s /bin/true "$BIN/gcc" ;; esac')
    assert "installing gcc with apt-get" in machine.run("setup").stdout
    assert "gcc" not in machine.run("setup").stdout


def test_without_a_compiler_the_service_is_only_slower(machine: Machine) -> None:
    machine.lacks("gcc")
    machine.program("venv-python", 'case "$*" in *ziglang*) exit 1 ;; esac; echo "$*" >>"$CALLS"')
    machine.program("apt-get", NO_PACKAGE)
    done = machine.run("setup")
    assert done.returncode == 0
    assert "there is no C compiler: the network will run at half the speed" in done.stdout
    machine.program("clang", ":")
    assert "compiler" not in machine.run("setup").stdout


def test_spark_is_archived_once_for_each_java_and_each_set_of_packages(machine: Machine) -> None:
    assert machine.archives("setup") == 1
    assert machine.archives("setup") == 0
    machine.program("java", JAVA.replace("17.0.1", "17.0.2"))
    assert machine.archives("setup") == 1
    machine.write(PRODUCTION, "second")
    assert machine.archives("setup") == 1
    assert machine.archives("setup") == 0


def test_an_archive_that_fails_is_only_reported(machine: Machine) -> None:
    machine.program("venv-python", 'case "$*" in *archive*) echo no room >&2; exit 1 ;; esac')
    done = machine.run("setup")
    assert done.returncode == 0
    assert done.stdout.endswith("python -m processor.spark.class_archive says why\n")


def test_java_is_installed_in_a_version_that_is_available(machine: Machine) -> None:
    machine.lacks("java")
    machine.program("java-21", JAVA.replace("17", "21"))
    machine.program(
        "apt-get",
        f"""case "$*" in
          *openjdk-17*) {NO_PACKAGE} ;;
          *openjdk-21*) ln -s "$BIN/java-21" "$BIN/java" ;;
        esac""",
    )
    done = machine.run("setup")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == [
        "installing openjdk-17-jre-headless with apt-get",
        "installing openjdk-21-jre-headless with apt-get",
    ]
    assert "E: " not in done.stdout


def test_java_that_cannot_be_installed(machine: Machine) -> None:
    machine.lacks("java")
    machine.program("id", "echo 1000")
    machine.program("apt-get", "")
    machine.program("sudo", "echo sudo: a password is required >&2; exit 1")
    done = machine.run("setup")
    assert done.returncode == 1
    shown = done.stdout.splitlines()
    assert "sudo: a password is required" in shown
    assert shown[-1].startswith("error: Spark needs Java 17 or 21: ")
    assert not machine.has_venv
