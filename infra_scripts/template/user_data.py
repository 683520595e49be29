"""The script that an instance runs at its first start: it installs a release, and says how that went."""

from shlex import quote

from infra_scripts.release import Release
from infra_scripts.stack import Stack

MOST_BYTES = 16_384  # what EC2 takes
_LAST_LINES = 6  # of the log, with a failure
_MOST_CHARACTERS = 700  # of them: CloudFormation keeps a reason's first 1,024

# CloudFormation fills in each "${Name}"; the shell's own variables are written without braces.
_SCRIPT = """\
#!/bin/bash
# Installs the service and tells CloudFormation how that went. Runs once, as root, at the first start;
# what it prints is in /var/log/cloud-init-output.log, and in the LOG below.
set -uo pipefail
export DEBIAN_FRONTEND=noninteractive HOME=/root
# The role may be a few seconds younger than the instance.
export AWS_METADATA_SERVICE_NUM_ATTEMPTS=10 AWS_METADATA_SERVICE_TIMEOUT=5
REGION=${AWS::Region}
BUCKET=@BUCKET@
KEY=@KEY@
SHA256=@SHA256@
SIGNAL='${@HANDLE@}'
LOG=/var/log/fruits-install.log

retry() {
  for attempt in 1 2 3 4 5 6; do
    "$@" && return
    echo "attempt $attempt failed: $*"
    sleep 10
  done
  return 1
}

fetch() {
  python3 - "$REGION" "$BUCKET" "$KEY" <<'END'
import sys
import boto3

region, bucket, key = sys.argv[1:]
boto3.client("s3", region_name=region).download_file(bucket, key, "release.tar.gz")
END
}

install_release() {
  set -e
  mkdir -p /etc/fruits
  printf '%s\\n' "AWS_REGION=$REGION" FRUITS_LOGS__CLOUDWATCH=true >/etc/fruits/environment
  chmod 600 /etc/fruits/environment
  retry apt-get -qq -o APT::Update::Error-Mode=any update
  retry apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends python3-boto3
  unpacked=$(mktemp -d /var/tmp/fruits.XXXXXX)
  cd "$unpacked"
  retry fetch
  echo "$SHA256  release.tar.gz" | sha256sum --check
  tar -xzf release.tar.gz --no-same-owner
  rm release.tar.gz
  ./infra_scripts/install.sh
  cd /
  rm -rf "$unpacked"
}

report() {
  python3 - "$1" "$LOG" >/run/fruits-installed.json <<'END'
import json
import pathlib
import sys

status, log = sys.argv[1:]
lines = [line.strip() for line in pathlib.Path(log).read_text("utf-8", "replace").split("\\n")]
last = " | ".join([line for line in lines if line][-@LINES@:])[-@CHARACTERS@:]
reason = last.encode("ascii", "replace").decode() or status
print(json.dumps({"Status": status, "Reason": reason, "UniqueId": "install", "Data": "-"}))
END
  curl --silent --show-error --fail --retry 5 --retry-all-errors -T /run/fruits-installed.json "$SIGNAL"
}

# Not in an "if": in there bash would ignore "set -e".
install_release 2>&1 | tee "$LOG"
status=$?
if [ "$status" = 0 ]; then report SUCCESS; else report FAILURE; fi
exit "$status"
"""


def script(stack: Stack, release: Release, handle: str) -> str:
    """The script, under 16 KB; ``${...}`` in it is what CloudFormation fills in.

    ``handle`` is the logical id of the wait condition's handle: a presigned URL, so reporting needs no
    permission and nothing that would have to be installed first. The settings come with the release.
    """
    values = {
        "BUCKET": quote(stack.bucket),
        "KEY": quote(release.key),
        "SHA256": quote(release.sha256),
        "HANDLE": handle,
        "LINES": str(_LAST_LINES),
        "CHARACTERS": str(_MOST_CHARACTERS),
    }
    text = _SCRIPT
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
