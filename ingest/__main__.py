"""``python -m ingest``: photos from a local folder into the bucket."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from common import aws, aws_errors
from common.config import Config, ConfigError, load
from common.printable import printable
from ingest.folder import LocalPhoto, photos
from ingest.upload import THREADS, Progress, upload

ATTEMPTS = 8  # an upload of hours should outlast a minute of overload
_HINT = "an uploader needs s3:ListBucket on the bucket, s3:PutObject and s3:GetObject on its photos"


class UploadError(RuntimeError):
    """Nothing can be uploaded as asked; the message names the cause and the fix."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 only when all photos are in the bucket."""
    options = _parser().parse_args(arguments)
    try:
        config = load(options.config)
        return _upload(config, options.folder, _subfolder(options.under))
    except (ConfigError, UploadError, aws_errors.EndpointError) as error:
        fault = str(error)
    except aws_errors.ERRORS as error:
        fault = f"{aws_errors.explain(error, hint=_HINT)}; then repeat the command to continue"
    except OSError as error:
        fault = f"{options.folder}: {error.strerror}"
    except KeyboardInterrupt:
        print("interrupted: repeat the command to continue from here", file=sys.stderr)
        return 130
    print(f"error: {printable(fault)}", file=sys.stderr)
    return 1


def _upload(config: Config, folder: Path, under: str) -> int:
    layout = config.storage.layout
    prefix = f"{layout.photos_prefix}{under}"
    limit = config.images.max_bytes
    count = size = 0
    for each in photos(folder, prefix, limit):
        if isinstance(each, LocalPhoto):
            count, size = count + 1, size + each.bytes
    destination = f"s3://{layout.bucket}/{prefix}"
    if not count:
        raise UploadError(
            f"{folder} has no photos: none of its files is named like one (.jpg, .png, …)"
        )
    _say(f"{count:,} photos, {_size(size)}, to {destination}")
    s3 = aws.client("s3", connections=THREADS, attempts=ATTEMPTS)
    files = photos(folder, prefix, limit)
    done = upload(s3, layout.bucket, prefix, files, _notes(count))
    for each in done.examples:
        _say(f"left out: {each.path}: {each.reason}")
    if done.left_out > len(done.examples):
        _say(f"left out: {done.left_out - len(done.examples):,} more")
    print(
        f"uploaded {done.uploaded:,} ({_size(done.uploaded_bytes)}), there already {done.present:,}, "
        f"left out {done.left_out:,}; {done.others:,} other files"
    )
    return 1 if done.left_out else 0


def _notes(total: int) -> Callable[[Progress], None]:
    began = time.monotonic()

    def note(progress: Progress) -> None:
        done = progress.uploaded + progress.present
        rate = done / max(time.monotonic() - began, 1e-3)
        left = f", {_duration((total - done) / rate)} left" if 0 < done < total else ""
        _say(f"{done:,} of {total:,} photos, {rate:,.0f} a second{left}")

    return note


def _subfolder(text: str) -> str:
    """``a/b`` or ``/a/b/`` as ``a/b/``. Raises :class:`UploadError` for parts that libraries resolve."""
    parts = [part for part in text.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise UploadError(f"--under {text!r}: name a folder of the bucket without . and ..")
    return "".join(f"{part}/" for part in parts)


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes:,} min" if minutes > 1 else f"{seconds:,.0f} s"


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ingest", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    purpose = (
        "Upload a folder of photos into the bucket, several at a time. The folder's own folders become "
        "those of the bucket, so a photo's parent folder is its label. Photos that are there with equal "
        "bytes are skipped, others under the same key are replaced; what is interrupted is continued "
        "when repeated. Hidden files, and those with names unlike photos', are passed over. The exit "
        "status is 0 only if all photos are in the bucket."
    )
    command = commands.add_parser("upload", help="upload a folder of photos", description=purpose)
    command.add_argument("folder", type=Path, metavar="DIR", help="a folder of this machine")
    command.add_argument(
        "--under",
        default="",
        metavar="FOLDER",
        help="put them into FOLDER under storage.photos_prefix, e.g. Training",
    )
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="use FILE instead of this folder's config.toml"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
