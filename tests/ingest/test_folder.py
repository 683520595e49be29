"""A local folder: which files are photos, in which order, and why others are left out."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.folder import LeftOut, LocalPhoto, photos

NAMES = st.text(st.sampled_from("a-./é\U0001f34f0_ "), min_size=1, max_size=12)


def write(folder: Path, name: str, data: bytes = b"x") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def keys(folder: Path) -> list[str]:
    return [each.key for each in photos(folder, "photos/", 9) if isinstance(each, LocalPhoto)]


def left_out(folder: Path) -> dict[str, LeftOut]:
    found = (each for each in photos(folder, "photos/", 9) if isinstance(each, LeftOut))
    return {each.path.name: each for each in found}


@given(names=st.sets(NAMES, max_size=12))
def test_all_photos_are_found_in_the_order_that_s3_lists_them(
    names: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("photos")
    wanted = set()
    for name in names:
        parts = [part for part in name.split("/") if part.strip(".")]
        if parts and not any(part.startswith(".") for part in parts):
            path = "/".join([*(f"{part}~" for part in parts[:-1]), f"{parts[-1]}.jpg"])
            write(folder, path)
            wanted.add(f"photos/{path}")
    assert keys(folder) == sorted(wanted, key=str.encode)


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    for name in (".DS_Store", "._apple.jpg", ".thumbnails/a.jpg", "fig/b.JPG"):
        write(tmp_path, name)
    assert keys(tmp_path) == ["photos/fig/b.JPG"]
    assert not left_out(tmp_path)


def test_what_cannot_be_uploaded_is_left_out_with_its_reason(tmp_path: Path) -> None:
    write(tmp_path, "empty.png", b"")
    write(tmp_path, "large.webp", b"0123456789")
    write(tmp_path, "notes.txt")
    deep = "/".join(["d" * 200] * 6)
    write(tmp_path, f"{deep}/long.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to("/etc/hostname")
    (tmp_path / "folder").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe.jpg")
    reasons = {name: each.reason for name, each in left_out(tmp_path).items()}
    assert "empty" in reasons["empty.png"]
    assert "images.max_bytes" in reasons["large.webp"]
    assert "1024 bytes" in reasons["long.jpg"]
    assert "UTF-8" in reasons["\udcff.jpg"]
    assert "symbolic link" in reasons["link.jpg"]
    assert "symbolic link" in reasons["folder"]
    assert "regular" in reasons["pipe.jpg"]
    assert [name for name, each in left_out(tmp_path).items() if not each.is_photo] == ["notes.txt"]
    assert not keys(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(photos(tmp_path / "none", "photos/", 9))
