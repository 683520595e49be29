"""Events of the embedded S3: every change is announced, in order, as S3 describes it."""

from tests.support.aws import DeployedStack

KEYS = [
    "a b.jpg",
    "a+b.jpg",
    "100%.jpg",
    "a%20b%2Fc.jpg",
    "c:d;e,f=g&h.jpg",
    "what?.jpg",
    "#1.jpg",
    'it\'s "so".jpg',
    "äpfel/🍎.jpg",
    "a//b.jpg",
    "/lead.jpg",
    "./x/../y.jpg",
    " blank .jpg",
    "back\\slash.jpg",
    "x*y~(1)!.jpg",
    "tab\tnew\nline.jpg",
    "k" * 1017,  # with the prefix 1,024 bytes, the longest
]


def test_any_key_arrives_decoded(stack: DeployedStack) -> None:
    for name in KEYS:
        key = f"photos/{name}"
        stack.put(key, b"photo")
        listed = stack.s3.list_objects_v2(Bucket=stack.bucket)["Contents"]
        body = stack.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()
        stack.s3.delete_object(Bucket=stack.bucket, Key=key)
        assert [entry["Key"] for entry in listed] == [key]
        assert body == b"photo"
        assert stack.events() == [("ObjectCreated:Put", key), ("ObjectRemoved:Delete", key)]


def test_sequencers_increase(stack: DeployedStack) -> None:
    for _ in range(3):
        stack.put("photos/a.jpg")
        stack.s3.delete_object(Bucket=stack.bucket, Key="photos/a.jpg")
    records = [body["Records"][0] for body in stack.drain()]
    sequencers = [record["s3"]["object"]["sequencer"] for record in records]
    assert len(set(sequencers)) == 6
    assert sequencers == sorted(sequencers)


def test_versioned_objects_announce_markers_and_versions(stack: DeployedStack) -> None:
    stack.s3.put_bucket_versioning(
        Bucket=stack.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    where = {"Bucket": stack.bucket, "Key": "photos/a.jpg"}
    first = stack.s3.put_object(**where, Body=b"1")["VersionId"]
    second = stack.s3.put_object(**where, Body=b"2")["VersionId"]
    marker = stack.s3.delete_object(**where)["VersionId"]
    stack.s3.delete_object(**where, VersionId=first)
    records = [body["Records"][0] for body in stack.drain()]
    events = [(record["eventName"], record["s3"]["object"]["versionId"]) for record in records]
    assert events == [
        ("ObjectCreated:Put", first),
        ("ObjectCreated:Put", second),
        ("ObjectRemoved:DeleteMarkerCreated", marker),
        ("ObjectRemoved:Delete", first),
    ]


def test_the_last_version_of_a_key_may_be_a_delete_marker(stack: DeployedStack) -> None:
    stack.s3.put_bucket_versioning(
        Bucket=stack.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    where = {"Bucket": stack.bucket, "Key": "photos/a.jpg"}
    version = stack.s3.put_object(**where, Body=b"1")["VersionId"]
    marker = stack.s3.delete_object(**where)["VersionId"]
    versions = [{"Key": where["Key"], "VersionId": each} for each in (version, marker)]
    answer = stack.s3.delete_objects(Bucket=stack.bucket, Delete={"Objects": versions})
    assert len(answer["Deleted"]) == 2
    assert [name for name, _ in stack.events()][2:] == ["ObjectRemoved:Delete"] * 2
