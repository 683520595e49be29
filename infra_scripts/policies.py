"""Policy documents: who may do what with the bucket and the queues, and the service's own role."""

from infra_scripts.stack import Place, Stack

Document = dict[str, object]  # a policy or a statement, its members spelt as IAM spells them

VERSION = "2012-10-17"
TLS_SID = "FruitsTlsOnly"
SEND_SID = "FruitsEventsFromBucket"


def merge(document: Document | None, ours: list[Document]) -> Document | None:
    """``document`` with our statements in place of those with the same Sid, the others untouched.

    A statement that says the same as ours in another form stays as it is. A document that has all
    of ours is returned itself, and so is None where ``ours`` is empty.
    """
    known = _statements_in(document or {})
    merged = list(known)
    for statement in ours:
        sids = [each.get("Sid") for each in merged]
        if statement["Sid"] not in sids:
            merged.append(statement)
        elif _normal(merged[at := sids.index(statement["Sid"])]) != _normal(statement):
            merged[at] = statement
    if merged == known:
        return document
    return {"Version": VERSION, **(document or {}), "Statement": merged}


def sids(document: Document | None) -> set[object]:
    """The names of its statements."""
    return {each.get("Sid") for each in _statements_in(document or {})}


def _statements_in(document: Document) -> list[Document]:
    known = document.get("Statement", [])
    if isinstance(known, dict):
        return [known]  # IAM takes a single statement without a list
    return known if isinstance(known, list) else []


def _normal(value: object) -> object:
    """A statement without the variations that IAM allows: one value or a list, in any order."""
    if isinstance(value, dict):
        return {name: _normal(member) for name, member in value.items()}
    return sorted(map(str, value)) if isinstance(value, list) else [str(value)]


def bucket_statements(stack: Stack, place: Place) -> list[Document]:
    """The bucket answers over TLS only."""
    arn = place.bucket_arn(stack.bucket)
    return _tls_only(place, "s3:*", [arn, f"{arn}/*"])


def dead_letter_statements(stack: Stack, place: Place) -> list[Document]:
    """The dead-letter queue answers over TLS only."""
    return _tls_only(place, "sqs:*", place.queue_arn(stack.dead_letter_queue))


def queue_statements(stack: Stack, place: Place) -> list[Document]:
    """S3 may send on behalf of this bucket of this account; TLS only.

    Callers of our own account need no statement here: their own policies decide.
    """
    arn = place.queue_arn(stack.queue)
    send: Document = {
        "Sid": SEND_SID,
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {
            "ArnEquals": {"aws:SourceArn": place.bucket_arn(stack.bucket)},
            "StringEquals": {"aws:SourceAccount": place.account},
        },
    }
    return [send, *_tls_only(place, "sqs:*", arn)]


def _tls_only(place: Place, action: str, resource: str | list[str]) -> list[Document]:
    statement: Document = {
        "Sid": TLS_SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return [statement] if place.encrypted else []


def service_role(stack: Stack, place: Place) -> Document:
    """What the service on its instance may do, and no more."""
    bucket = place.bucket_arn(stack.bucket)
    photos = f"{stack.layout.photos_prefix}*"
    folders = [key for key in stack.layout.stored_keys if key.endswith("*")]
    stored, swept = (
        [f"{bucket}/{key}" for key in keys] for keys in (stack.layout.stored_keys, folders)
    )
    store = stack.layout.store
    large = [
        place.bucket_arn(each.removeprefix("s3://"))
        for each in (store.reduced_csv, store.report_page, store.report_map)
    ]
    statements = [
        _allow("ReadPhotos", ["s3:GetObject"], f"{bucket}/{photos}"),
        _allow("KeepStore", ["s3:GetObject", "s3:PutObject"], stored),
        _allow("SweepStore", ["s3:DeleteObject"], swept),
        # What is left of a large checkpoint of delta-rs' or of an abandoned index snapshot, the
        # lifecycle rule ends after a day.
        _allow("AbortUploads", ["s3:AbortMultipartUpload"], large),
        # Not for the service: for the instance, which installs itself.
        _allow("ReadReleases", ["s3:GetObject"], f"{bucket}/{stack.layout.releases}*"),
        # "IfExists": S3 answers 404 for a missing object only to callers who may list, and checks
        # that without a prefix. Everybody else gets 403, which does not prove absence.
        _allow("List", ["s3:ListBucket"], bucket)
        | {"Condition": {"StringLikeIfExists": {"s3:prefix": [photos, *folders]}}},
        _allow("ListVersions", ["s3:ListBucketVersions"], bucket)
        | {"Condition": {"StringLike": {"s3:prefix": photos}}},
        _allow("ReadVersioning", ["s3:GetBucketVersioning"], bucket),
        _allow(
            "WorkQueue",
            [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:GetQueueUrl",
                "sqs:ReceiveMessage",
                "sqs:SendMessage",  # retries, reconciliation, redrive
            ],
            place.queue_arn(stack.queue),
        ),
        _allow(
            "DeadLetters",
            [
                "sqs:GetQueueAttributes",
                "sqs:GetQueueUrl",
                "sqs:SendMessage",  # a malformed message does not wait for SQS to move it
            ],
            place.queue_arn(stack.dead_letter_queue),
        ),
        # Not for the service: for whoever runs `redrive` and, but for the deletion, `why`.
        _allow(
            "Redrive",
            ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"],
            place.queue_arn(stack.dead_letter_queue),
        ),
        _allow(
            "Log",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            f"{place.log_group_arn(stack.log_group)}:*",
        ),
        # The age of the oldest message; CloudWatch's metrics have no ARNs to restrict it to.
        _allow("QueueAge", ["cloudwatch:GetMetricStatistics"], "*"),
    ]
    if stack.weights.startswith("s3://"):
        weights = stack.weights.removeprefix("s3://").rsplit("#sha256=", 1)[0]
        statements.append(_allow("ReadWeights", ["s3:GetObject"], place.bucket_arn(weights)))
    # Writing needs both: SQS, and S3 for an upload in parts, read the data key again.
    if stack.bucket_key:
        statements.append(_use_keys("UseBucketKey", [stack.bucket_key], "s3", place))
    if stack.queue_keys:
        statements.append(_use_keys("UseQueueKeys", [*stack.queue_keys], "sqs", place))
    return {"Version": VERSION, "Statement": statements}


def session_manager() -> Document:
    """What the agent of Session Manager needs to open a shell, and no more.

    None of these actions can be restricted to a resource. AWS' own policy for instances allows far more,
    as reading every parameter of the account.
    """
    actions = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ]
    return {"Version": VERSION, "Statement": [_allow("OpenShell", actions, "*")]}


def _use_keys(sid: str, keys: list[str], service: str, place: Place) -> Document:
    """Through the service only: the keys open nothing else."""
    through = {"kms:ViaService": f"{service}.{place.region}.amazonaws.com*"}  # in China .com.cn
    statement = _allow(sid, ["kms:Decrypt", "kms:GenerateDataKey"], keys)
    return statement | {"Condition": {"StringLike": through}}


def _allow(sid: str, actions: list[str], resource: str | list[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
