"""The preflight: checks of what must exist in AWS before anything is started."""

from common import aws, aws_errors
from processor.errors import PreflightError


def find_queue(name: str, setting: str = "queue.name") -> str:
    """The URL of the queue ``name``. Raises :class:`PreflightError`; ``setting`` is named in it."""
    try:
        url = aws.queue_url(aws.client("sqs"), name)
    except aws_errors.ERRORS as error:
        raise PreflightError(aws_errors.explain(error, f"queue {name!r}")) from error
    if url is None:
        raise PreflightError(
            f"there is no queue {name!r}: deploy it (python -m infra_scripts deploy) or correct "
            f"{setting}"
        )
    return url


def check_bucket(name: str) -> None:
    """Raise :class:`PreflightError` unless the bucket exists and we may use it."""
    try:  # unlike HeadBucket it needs no other permission, and the answer says what is wrong
        aws.s3().list_objects_v2(Bucket=name, MaxKeys=1)
    except aws_errors.ERRORS as error:
        if aws_errors.code_of(error) == "NoSuchBucket":
            raise PreflightError(
                f"there is no bucket {name!r}: deploy it (python -m infra_scripts deploy) or correct "
                "storage.bucket"
            ) from error
        raise PreflightError(aws_errors.explain(error, f"bucket {name!r}")) from error
