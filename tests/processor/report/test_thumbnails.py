"""Thumbnails: of readable photos, within the decoder's limits; none harms another."""

import io
from pathlib import Path

import boto3
import numpy as np
import pytest
from PIL import Image

from processor.errors import ServiceError, Unavailable
from processor.report import parts, thumbnails
from processor.report.thumbnails import encoded, make
from tests.support.drawn_photos import photo
from tests.support.reports import source


def opened(thumbnail: bytes) -> Image.Image:
    return Image.open(io.BytesIO(thumbnail))


@pytest.mark.parametrize(
    ("sides", "wanted"),
    [((400, 300), (64, 48)), ((300, 400), (48, 64)), ((7, 7), (64, 64)), ((9000, 2), (64, 1))],
)
def test_the_photo_gets_its_shape_back(sides: tuple[int, int], wanted: tuple[int, int]) -> None:
    image = opened(encoded(np.full((64, 64, 3), 200, np.uint8), *sides))
    assert (image.format, image.size) == ("WEBP", wanted)
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - 200).max() < 8


def made(bucket: str, photos: list[tuple[str, str]], folder: Path) -> dict[str, bytes]:
    (name,) = make(photos, source(bucket), str(folder))
    table = parts.read(str(folder), name)
    return dict(zip(table["key"].to_pylist(), table["thumbnail"].to_pylist(), strict=True))


def test_only_readable_photos_of_the_version_have_one(bucket: str, tmp_path: Path) -> None:
    s3 = boto3.client("s3")
    wanted = []
    bodies = {
        "a.jpg": photo(1),
        "bad.jpg": b"no photo",
        "<script>": photo(2),
        "large": b"0" * 2_000_000,
    }
    for name, body in bodies.items():
        key = f"photos/{name}"
        tag = s3.put_object(Bucket=bucket, Key=key, Body=body)["ETag"].strip('"')
        wanted.append((key, tag))
    s3.put_object(Bucket=bucket, Key="photos/other.jpg", Body=photo(3))
    s3.put_object(Bucket=bucket, Key="photos/cold", Body=photo(4), StorageClass="GLACIER")
    wanted += [("photos/other.jpg", "another"), ("photos/gone.jpg", "1"), ("photos/cold", "1")]
    found = made(bucket, wanted, tmp_path)
    assert found.keys() == {"photos/a.jpg", "photos/<script>"}
    assert max(opened(found["photos/a.jpg"]).size) == 64
    assert len(found["photos/a.jpg"]) < 4000
    assert made(bucket, [], tmp_path) == {}


def test_a_bucket_that_is_gone_is_an_error(aws: object, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"NoSuchBucket|bucket"):
        made("no-such-bucket-anywhere", [("photos/a.jpg", "1")], tmp_path)


def test_an_outage_is_not_tried_again_for_each_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def get(_bucket: str, key: str, _most: int) -> None:
        asked.append(key)
        raise Unavailable("S3 answered 503")

    monkeypatch.setattr(thumbnails.objects, "get", get)
    photos = [(f"photos/{n}.jpg", "1") for n in range(500)]
    with pytest.raises(ServiceError, match="photos in a row are unavailable: S3 answered 503"):
        made("bucket", photos, tmp_path)
    assert len(asked) < 500 // 4
