"""A machine for install.sh: the real script on a PATH of stand-ins, in a folder instead of ``/``."""

import json
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("common", "ingest", "processor", "infra_scripts", "systemd")
TOOLS = (
    *("awk", "basename", "bash", "cat", "chmod", "cmp", "cut", "date", "dirname", "env", "find"),
    *("flock", "grep", "ln", "mkdir", "mv", "nproc", "readlink", "rm", "sed", "sha256sum", "sort"),
    *("sync", "tail", "tar", "touch", "tr", "uname", "xargs"),
)
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHANGING = ("chmod", "ln", "mkdir", "mv", "rm", "sync", "tar", "touch")  # or systemctl, or Python
# Counts the calls of what changes something, and at the one that is named kills all that runs.
COUNTS = """count() {
  echo $$ >>"$STATE/calls"  # two may count at once: each finds its own line
  [ -z "${KILL_AT:-}" ] || [ "$(sed -n "${KILL_AT}p" "$STATE/calls")" != $$ ] || kill -9 0
}
"""
PYTHON = """
case "$*" in
  -c*exit*) ;;
  *ensurepip*) dpkg -s python3.11-venv | grep -q installed ;;
  -c*) echo python3.11 ;;
  "-m venv "*) mkdir -p "$3/bin" "$3/lib"; ln -sfn "$BIN/venv-python" "$3/bin/python" ;;
esac"""
VENV_PYTHON = 'count; echo "$*" >>"$STATE/python"; [ ! -e "$STATE/no-$2" ]'
SYSTEMCTL = """
count
running() { cat "$STATE/running" 2>/dev/null; }
case "$*" in
  --version) echo "systemd ${SYSTEMD:-252} (252.39)" ;;
  "is-active --quiet "*) [ -z "${STOPS:-}" ] && running >/dev/null ;;
  "is-enabled --quiet "*) [ -e "$STATE/enabled" ] ;;
  "enable --quiet "*) touch "$STATE/enabled" ;;
  "stop "*) [ -n "${STOPS:-}" ] || rm -f "$STATE/running" ;;
  "show -P NRestarts "*) echo 0 ;;
  "show -P ActiveState "*) if running >/dev/null; then echo "${STOPS:-active}"; else echo inactive; fi ;;
  "start "*)
    release=$(basename "$(readlink "$HOME_DIR/current")")
    [ "$(running)" = "" ] || [ "$(running)" = "$release" ] || echo "two versions" >>"$STATE/faults"
    [ -e "$HOME_DIR/current/requirements.lock" ] || echo "half a release" >>"$STATE/faults"
    [ ! -e "$HOME_DIR/current/processor/broken" ] || exit 1
    [ ! -e "$STATE/ill" ] || exit 1
    echo "$release" >"$STATE/running" ;;
esac"""


class Machine:
    """A machine on which releases can be installed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._programs, self.state = folder, folder / "bin", folder / "state"
        for each in (self._programs, self.state, folder / "run", folder / "usr"):
            each.mkdir()
        self.home, self.etc = folder / "opt", folder / "etc"
        self.unit = folder / "units" / "fruits.service"
        self.os_release("debian", "12")
        for name in TOOLS:
            real = shutil.which(name)
            assert real, name
            if name in CHANGING:
                self.program(name, f'count; exec {real} "$@"')
            else:
                (self._programs / name).symlink_to(real)
        self.program("setpriv", 'shift 2; exec "$@"')
        self.program("id", "echo 0")
        self.program("sleep", ":")
        self.program("java", "echo 'openjdk version \"17.0.1\"' >&2")
        self.program("dpkg", "echo 'Status: install ok installed'")
        self.program("getent", ":")
        self.program("python3", PYTHON)
        self.program("python3.11", PYTHON)
        self.program("venv-python", VENV_PYTHON)
        self.program("systemctl", SYSTEMCTL)
        # Root's own, which a service could not reach: whoever calls them has the wrong PATH.
        self._own_programs = folder / "root-bin"
        self._own_programs.mkdir()
        for name in ("java", "python3", "python3.11"):
            self._own_programs.joinpath(name).symlink_to("/bin/false")
        self.program("journalctl", "echo the last line of the log")

    def program(self, name: str, body: str) -> None:
        path = self._programs / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/bash\n{COUNTS}{body}\n")
        path.chmod(0o755)

    def lacks(self, name: str) -> None:
        (self._programs / name).unlink()

    def os_release(self, name: str, version: str) -> None:
        (self._folder / "os-release").write_text(f'ID={name}\nVERSION_ID="{version}"\n')

    def release(self, name: str, *, broken: bool = False, lock: str = "1.0") -> Path:
        """The folder of a release, which differs from others by its name."""
        folder = self._folder / name
        for each in FOLDERS:
            (folder / each).mkdir(parents=True)
        for each in ("systemd/fruits.service", "systemd/backoff.conf", "systemd/fruits"):
            shutil.copy(ROOT / each, folder / each)
        (folder / "requirements.txt").write_text("")
        packages = (
            f"numpy=={lock} \\\n    --hash=sha256:00\nsetuptools==80 \\\n    --hash=sha256:01\n"
        )
        (folder / "requirements.lock").write_text(packages)
        (folder / "config.toml").write_text(f"# of {name}\n")
        if broken:
            (folder / "processor" / "broken").touch()
        script = (ROOT / "infra_scripts" / "install.sh").read_text()
        for constant, place in {
            "HOME_DIR=/opt/fruits": f"HOME_DIR={self.home}",
            "ETC=/etc/fruits": f"ETC={self.etc}",
            "UNITS=/etc/systemd/system": f"UNITS={self.unit.parent}",
            "COMMAND=/usr/local/bin/fruits": f"COMMAND={self._folder}/usr/fruits",
            "OS_RELEASE=/etc/os-release": f"OS_RELEASE={self._folder}/os-release",
            "RUNNING_SYSTEMD=/run/systemd/system": f"RUNNING_SYSTEMD={self._folder}/run",
            f"PATH={SYSTEM_PATH}": f"PATH={self._programs}",
        }.items():
            assert script.count(constant) == 1
            script = script.replace(constant, place)
        path = folder / "infra_scripts" / "install.sh"
        path.write_text(script)
        path.chmod(0o755)
        return folder

    def run(
        self, release: Path, *options: str, kill_at: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """install.sh of this release; killed, with all it runs, at a call of what changes something."""
        (self.state / "calls").write_text("")
        return subprocess.run(
            ["/bin/bash", release / "infra_scripts" / "install.sh", *options],
            env={
                "PATH": f"{self._own_programs}:{SYSTEM_PATH}",
                "BIN": str(self._programs),
                "STATE": str(self.state),
                "HOME_DIR": str(self.home),
                "KILL_AT": str(kill_at or ""),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
            start_new_session=True,
        )

    def installs(self, release: Path, *options: str) -> str:
        """The same; it must succeed, and nothing may ever have gone wrong. What it printed."""
        done = self.run(release, *options)
        assert done.returncode == 0, done.stdout
        assert self.faults == ""
        return done.stdout

    @property
    def calls(self) -> int:
        """Calls of the last run that changed something."""
        return len((self.state / "calls").read_text().splitlines())

    @property
    def pip_calls(self) -> list[str]:
        lines = (self.state / "python").read_text().splitlines()
        return [line for line in lines if line.startswith("-m pip install")]

    @property
    def faults(self) -> str:
        file = self.state / "faults"
        return file.read_text() if file.exists() else ""

    @property
    def running(self) -> str:
        """What the running release is called; empty without one."""
        file = self.state / "running"
        return (
            self._name_of(self.home / "releases" / file.read_text().strip())
            if file.exists()
            else ""
        )

    def link(self, name: str) -> str:
        """What the release is called that a link leads to; empty without it."""
        path = self.home / name
        return self._name_of(path) if path.exists() else ""

    @property
    def config(self) -> str:
        return (self.etc / "config.toml").read_text()

    def snapshot(self) -> str:
        """All that an operator sees of what is installed."""
        return json.dumps([self.link("current"), self.link("previous"), self.running, self.config])

    @staticmethod
    def _name_of(release: Path) -> str:
        return (release / "config.toml").read_text().split()[-1]
