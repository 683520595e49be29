#!/usr/bin/env bash
# Installs the release that this script lies in, or upgrades to it, as a systemd service; see --help.
# It may be killed at any line: run it again. What is built has another name until it is whole, links are replaced by
# renaming, and a release counts as good only once its service was ready.
set -euo pipefail
umask 022
SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
HOME_DIR=/opt/fruits
ETC=/etc/fruits
UNITS=/etc/systemd/system
COMMAND=/usr/local/bin/fruits
OS_RELEASE=/etc/os-release
RUNNING_SYSTEMD=/run/systemd/system
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin  # as services have it, without root's own
UNIT=fruits.service
CONTENT=(common ingest processor infra_scripts systemd requirements.txt requirements.lock config.toml)
HOLD_SECONDS=10  # for which the new service has to stay ready
SHOWN=20  # lines of the log of a service that does not become ready

usage() {
  cat <<'HELP'
usage: infra_scripts/install.sh [--rollback]

Installs the release that it lies in as the systemd service "fruits", or upgrades to it; as root, on Debian 12 or 13,
Ubuntu 22.04 or 24.04. Run it again after whatever went wrong: it continues, and changes nothing that is as it should be.

  --rollback  go back to the release before, which is kept for that

The new release is built beside the old one. Then the old service is stopped, the new one is started, and if that does
not become ready, the old one is started again and the status is 1. The status is 0 only if the service is running.

  /opt/fruits/current       the release that runs; /opt/fruits/previous: the one before
  /etc/fruits/config.toml   the settings; once edited, an upgrade leaves it alone and puts its own beside it (.new)
  /etc/fruits/environment   variables, e.g. AWS_REGION, FRUITS_LOGS__CLOUDWATCH=true, JAVA_HOME; never changed
  /var/lib/fruits, /var/cache/fruits   working directory and cache; can be deleted while the service is stopped

  fruits COMMAND ...        an operator's command, as the service would run it: fruits status, fruits why KEY, ...
  journalctl -u fruits -f   the log; systemctl status fruits: the state
HELP
}

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

tied() { setpriv --pdeathsig KILL "$@"; }  # a program that ends if this script is killed

replace_link() {  # NAME TARGET, atomically
  ln -sfn "$2" "$HOME_DIR/$1.new"
  mv -fT "$HOME_DIR/$1.new" "$HOME_DIR/$1"
}

replace_file() {  # FILE MODE, atomically, by what is read
  mkdir -p "$(dirname "$1")"
  cat >"$1.partial"
  chmod "$2" "$1.partial"
  mv -f "$1.partial" "$1"
}

release_of() { basename "$(readlink "$HOME_DIR/$1" 2>/dev/null)" 2>/dev/null || true; }  # current or previous

# ------------------------------------------------------------------------------------------------ the machine

check_machine() {
  [ "$(id -u)" = 0 ] || die "this installs for the whole machine: run it as root (sudo infra_scripts/install.sh)"
  local system
  system=$(. "$OS_RELEASE"; echo "${ID:-unknown} ${VERSION_ID:-}")
  case $system in
    "debian 12"|"ubuntu 22.04"|"ubuntu 24.04") JAVA_PACKAGE=openjdk-17-jre-headless ;;
    "debian 13") JAVA_PACKAGE=openjdk-21-jre-headless ;;
    *) die "this is $system; Debian 12 or 13, or Ubuntu 22.04 or 24.04, is needed" ;;
  esac
  [ -d "$RUNNING_SYSTEMD" ] || die "systemd does not run this machine, so it cannot run the service"
}

lock() {
  mkdir -p "$HOME_DIR/releases" "$HOME_DIR/venvs"
  exec 9>"$HOME_DIR/lock"
  flock -w 30 9 || die "another install.sh is at work: wait for its end"
}

missing_packages() {
  local each
  for each; do
    dpkg -s "$each" 2>/dev/null | grep -q '^Status: .* installed$' || printf '%s ' "$each"
  done
}

apt_install() {
  local missing
  local apt=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq -o DPkg::Lock::Timeout=300)
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  say "installing ${missing}with apt-get"
  dpkg --configure -a >/dev/null 2>&1 || true  # after an installation that was killed; apt-get reports the rest
  # shellcheck disable=SC2086
  { "${apt[@]}" install -y --no-install-recommends $missing 9>&- ||
    { "${apt[@]}" update 9>&- && "${apt[@]}" install -y --no-install-recommends $missing 9>&-; }; } >"$HOME_DIR/apt.log" 2>&1
}

find_python() {  # Ubuntu 22.04 has 3.10 as python3; beside it only 3.11.0rc1
  local each
  for each in python3 python3.13 python3.12 python3.11; do
    if "$each" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
      "$each" -c 'import sys; print("python3.%d" % sys.version_info[1])'
      return
    fi
  done
  return 1
}

setup_python() {
  PYTHON=$(find_python) || { apt_install python3.11 && PYTHON=$(find_python); } || apt_failed "Python 3.11, 3.12 or 3.13"
  # Debian keeps it in a package of its own; a Python of other origin has it.
  "$PYTHON" -c 'import ensurepip' 2>/dev/null || apt_install "$PYTHON-venv" || apt_failed "the package $PYTHON-venv"
}

java_home() { sed -n 's/^JAVA_HOME=//p' "$ETC/environment" 2>/dev/null | tail -n 1 | tr -d "\"'"; }  # of the service

java_version() {
  local home
  home=$(java_home)
  "${home:+$home/bin/}java" -version 2>&1 | sed -n 's/.*version "\([^"]*\).*/\1/p;T;q'
}

has_java() { case $(java_version) in 17|17.*|21|21.*) ;; *) return 1 ;; esac; }

setup_machine() {
  # A compiler for the engine winograd, and what locks the decoder of HEIC up.
  local packages=(gcc libc6-dev libseccomp2 ca-certificates)
  has_java || packages+=("$JAVA_PACKAGE")
  apt_install "${packages[@]}" || apt_failed "${packages[*]}"
  has_java || die "'java' is $(java_version || true), but Spark needs 17 or 21, which is installed: write a line JAVA_HOME=/usr/lib/jvm/java-... into $ETC/environment"
  getent passwd fruits >/dev/null || useradd --system --user-group --no-create-home \
    --home-dir /var/lib/fruits --shell /usr/sbin/nologin fruits
}

apt_failed() {
  tail -n 5 "$HOME_DIR/apt.log" >&2 2>/dev/null || true
  die "apt-get cannot install $1; its last lines are above, all are in $HOME_DIR/apt.log"
}

# ------------------------------------------------------------------------------------------------- the release

name_release() {  # ID, VENV: by all that is installed; a newer Python, of an upgraded system, makes another release
  VENV=$HOME_DIR/venvs/$({ cat "$SOURCE/requirements.lock"; echo "$PYTHON $(uname -m)"; } | sha256sum | cut -c 1-12)
  ID=$({ echo "${VENV##*/}"; cd "$SOURCE"
    find "${CONTENT[@]}" -name __pycache__ -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum | cut -c 1-12)
}

build_venv() {  # for these packages and this Python; releases that need the same share it
  local lock=$SOURCE/requirements.lock
  [ -e "$VENV/complete" ] && return
  say "installing $(grep -c '==' "$lock") packages for $PYTHON (minutes, once)"
  rm -rf "$VENV" "$HOME_DIR/tmp"
  mkdir -p "$HOME_DIR/tmp"
  tied "$PYTHON" -m venv "$VENV"
  # What builds a package from source is pinned as well, so it is installed first.
  awk '/^[^ #]/ { take = /^(setuptools|wheel|packaging)==/ } take' "$lock" >"$VENV/build.lock"
  pip_install --no-deps -r "$VENV/build.lock"
  # To deflate Spark's jars, which are deflated, would take as long as all the rest of building its wheel.
  printf '[bdist_wheel]\ncompression = stored\n' >"$HOME_DIR/tmp/build.cfg"
  DIST_EXTRA_CONFIG=$HOME_DIR/tmp/build.cfg pip_install --no-build-isolation --no-compile -r "$lock"
  # The service may not write here. Pip would use one core, and not mind either what cannot be compiled.
  find "$VENV/lib" -mindepth 3 -maxdepth 3 -print0 |
    xargs -0r -n 8 -P "$(nproc)" "$VENV/bin/python" -m compileall -q >/dev/null 2>&1 || true
  rm -rf "$HOME_DIR/tmp"
  sync -f "$VENV"
  touch "$VENV/complete"
}

pip_install() {  # not in /tmp, which may be small
  TMPDIR=$HOME_DIR/tmp tied "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    --no-cache-dir --require-hashes "$@" || die "pip could not install the packages; its message is above"
}

build_archive() {  # of Spark's classes, for this Java: saves four seconds of each start
  local java
  java=$(java_version)
  [ "$java" = "$(cat "$VENV/archived" 2>/dev/null)" ] && return
  say "archiving Spark's classes (half a minute, once)"
  rm -rf "$VENV"/making-*  # of one that was killed
  tied env -C "$RELEASE" JAVA_HOME="$(java_home)" .venv/bin/python -m processor.spark.class_archive >"$HOME_DIR/archive.log" 2>&1 ||
    say "that failed, so each start takes 4 s longer; $HOME_DIR/archive.log says why"
  printf '%s\n' "$java" >"$VENV/archived"
}

build_release() {  # RELEASE, whole once it has its name
  RELEASE=$HOME_DIR/releases/$ID
  [ -d "$RELEASE" ] && return
  local partial=$HOME_DIR/releases/.partial
  rm -rf "$partial"
  mkdir "$partial"
  (cd "$SOURCE" && tar -c --exclude=__pycache__ --owner=0 --group=0 "${CONTENT[@]}") | tar -x -C "$partial" --no-same-owner
  chmod -R u=rwX,go=rX "$partial"
  ln -s "../../venvs/$(basename "$VENV")" "$partial/.venv"
  # The service may not write here.
  "$partial/.venv/bin/python" -m compileall -q -s "$partial" -p "$RELEASE" "$partial"/{common,ingest,processor,infra_scripts}
  sync -f "$partial"
  mv -T "$partial" "$RELEASE"
}

# ------------------------------------------------------------------------------------------------- the service

write_environment() {
  [ ! -e "$ETC/environment" ] || { chmod o= "$ETC/environment"; return; }  # there may be secrets in it
  replace_file "$ETC/environment" 600 <<'TEXT'
# Variables of the service, one NAME=value a line; systemctl restart fruits applies them. Each setting of config.toml is
# FRUITS_<SECTION>__<KEY> here. AWS_REGION is needed where the instance's metadata does not tell the region.
TEXT
}

write_config() {  # RELEASE_DIR: its config.toml, unless an operator has edited the one that is there
  local file=$ETC/config.toml each
  if [ -e "$file" ]; then
    cmp -s "$file" "$1/config.toml" && return
    for each in "$HOME_DIR"/releases/*/config.toml ""; do
      [ -n "$each" ] || { keep_config "$1"; return; }
      ! cmp -s "$file" "$each" || break
    done
  fi
  replace_file "$file" 644 <"$1/config.toml"
}

keep_config() {
  replace_file "$ETC/config.toml.new" 644 <"$1/config.toml"
  say "$ETC/config.toml was edited and stays; what this release comes with is $ETC/config.toml.new"
}

write_unit() {  # RELEASE_DIR
  local version
  replace_file "$UNITS/$UNIT" 644 <"$1/systemd/$UNIT"
  version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
  if [ "${version:-0}" -ge 254 ] && [ -e "$1/systemd/backoff.conf" ]; then
    replace_file "$UNITS/$UNIT.d/10-backoff.conf" 644 <"$1/systemd/backoff.conf"
  else
    rm -f "$UNITS/$UNIT.d/10-backoff.conf"
  fi
  replace_file "$COMMAND" 755 <"$1/systemd/fruits"
  systemctl daemon-reload
  systemctl enable --quiet "$UNIT"
}

switch_to() {  # ID PREVIOUS_ID: two versions never run at a time
  ! systemctl is-active --quiet "$UNIT" || say "stopping the service; it finishes its micro-batch"
  systemctl stop "$UNIT" 2>/dev/null 9>&- || true  # it does not exist yet
  case $(systemctl show -P ActiveState "$UNIT") in
    inactive|failed) ;;
    *) die "the service does not stop: systemctl status fruits" ;;
  esac
  local dir=$HOME_DIR/releases/$1
  write_config "$dir"
  [ -z "$2" ] || [ "$2" = "$1" ] || replace_link previous "releases/$2"
  replace_link current "releases/$1"
  write_unit "$dir"
}

started() {  # whether the service becomes ready, and stays so; otherwise say why not
  local since restarts
  since=$(date +%s)
  say "starting the service; the first start prepares the network, which takes a minute or more"
  systemctl reset-failed "$UNIT" 2>/dev/null || true
  if systemctl start "$UNIT" 2>/dev/null 9>&-; then
    restarts=$(systemctl show -P NRestarts "$UNIT")
    sleep "$HOLD_SECONDS"
    if systemctl is-active --quiet "$UNIT" && [ "$restarts" = "$(systemctl show -P NRestarts "$UNIT")" ]; then
      touch "$HOME_DIR/releases/$1/.good"
      return 0
    fi
  fi
  say "release $1 does not become ready; the last lines of its log:"
  journalctl -u "$UNIT" --since "@$since" -n "$SHOWN" -o cat --no-pager | sed 's/^/  /' || true
  return 1
}

is_running() {  # ID: as it would be after switch_to and started
  [ "$(release_of current)" = "$1" ] && [ -e "$HOME_DIR/releases/$1/.good" ] &&
    cmp -s "$HOME_DIR/releases/$1/systemd/$UNIT" "$UNITS/$UNIT" && [ -e "$ETC/config.toml" ] &&
    systemctl is-enabled --quiet "$UNIT" && systemctl is-active --quiet "$UNIT"
}

remove() {  # DIR, so that a part of it, were this killed, is not taken for the whole
  rm -rf "$HOME_DIR/removed"
  mv -T "$1" "$HOME_DIR/removed"
  rm -rf "$HOME_DIR/removed"
}

prune() {  # what neither current nor previous needs
  local each keep
  keep=" $(release_of current) $(release_of previous) "
  for each in "$HOME_DIR"/releases/*; do
    [[ $keep == *" ${each##*/} "* ]] || remove "$each"
  done
  keep=" $(cd "$HOME_DIR/releases" && for each in */.venv; do basename "$(readlink "$each")"; done | tr '\n' ' ')"
  for each in "$HOME_DIR"/venvs/*; do
    [[ $keep == *" ${each##*/} "* ]] || remove "$each"
  done
  rm -rf "$HOME_DIR/releases/.partial" "$HOME_DIR/tmp" "$HOME_DIR/removed"
}

install() {
  setup_python
  setup_machine & local machine=$!  # while pip is at work; it says itself what goes wrong
  name_release
  end_rollback
  build_venv
  wait "$machine" || exit 1
  build_release
  build_archive
  write_environment
  if is_running "$ID"; then
    prune
    say "release $ID is installed already, and running"
    return
  fi
  local old before
  old=$(release_of current) before=$(release_of previous)
  [ "$old" != "$ID" ] || old=$before  # of an upgrade that was killed, or failed
  switch_to "$ID" "$old"
  if started "$ID"; then
    prune
    say "release $ID is running${old:+; the one before, $old, is kept: infra_scripts/install.sh --rollback}"
    return
  fi
  # A release that has been ready before fails for another reason, which an older one would meet as well.
  if [ -n "$old" ] && [ "$old" != "$ID" ] && [ -e "$HOME_DIR/releases/$old/.good" ] && [ ! -e "$RELEASE/.good" ]; then
    say "going back to release $old"
    switch_to "$old" "$([ "$before" = "$ID" ] || echo "$before")"
    started "$old" || die "neither release $ID nor $old becomes ready: correct what their logs name, then systemctl restart fruits"
    die "release $ID does not become ready, see above; release $old is running again"
  fi
  die "the service does not become ready, and systemd goes on trying: correct what its log names ($ETC/config.toml, $ETC/environment), then systemctl restart fruits"
}

end_rollback() {  # of one that was killed: both releases stay
  [ -e "$HOME_DIR/rolling-back" ] || return 0
  local target from
  read -r target from <"$HOME_DIR/rolling-back"
  [ "$(release_of current)" != "$from" ] || replace_link previous "releases/$target"
  rm -f "$HOME_DIR/rolling-back"
}

rollback() {
  local target from failed
  if [ -e "$HOME_DIR/rolling-back" ]; then  # was killed: go on with it
    read -r target from <"$HOME_DIR/rolling-back"
  else
    target=$(release_of previous) from=$(release_of current)
  fi
  [ -n "$target" ] && [ "$target" != "$from" ] && [ -d "$HOME_DIR/releases/$target" ] ||
    die "there is no release before this one${from:+ ($from)}"
  printf '%s %s\n' "$target" "$from" | replace_file "$HOME_DIR/rolling-back" 644
  switch_to "$target" "$from"
  started "$target" && failed= || failed=yes
  rm -f "$HOME_DIR/rolling-back"
  [ -z "$failed" ] || die "release $target does not become ready; correct what its log names, or go to $from: $HOME_DIR/current/infra_scripts/install.sh --rollback"
  say "release $target is running; the one before, $from, is kept: $HOME_DIR/current/infra_scripts/install.sh --rollback"
}

case "$#:${1:-}" in
  0:)           check_machine; lock; install ;;
  1:--rollback) check_machine; lock; rollback ;;
  1:--help|1:-h) usage ;;
  *) usage >&2; die "unknown option: $*" ;;
esac
