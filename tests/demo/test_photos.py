"""Files become keys: whatever their names, nothing but regular files, and clear refusals."""

import os

import pytest

from demo.errors import DemoError
from demo.photos import Photo, check, find


def test_every_photo_gets_its_key(tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "out"
    names = ["b.jpg", 'a/é +%20"$.png', "a/.hidden.gif", "a/deep/er/LOUD.JPEG", "new\nline.webp"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "LICENSE").write_bytes(b"not a photo")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)
    (folder / "link.jpg").symlink_to(folder / "b.jpg")
    found = find(folder, "photos/", out)
    assert [photo.key for photo in found] == sorted(f"photos/{n}" for n in [*names, "link.jpg"])
    assert all(photo.path.read_bytes() == b"x" for photo in found)


def test_what_the_demo_writes_is_not_a_photo(tmp_path):
    out = tmp_path / "demo_output"
    out.mkdir()
    (out / "map.png").write_bytes(b"x")
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert find(tmp_path, "p/", out) == [Photo("p/a.jpg", tmp_path / "a.jpg")]


def test_folders_that_cannot_be_used(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DemoError, match="does not exist: name a folder"):
        check(tmp_path / "missing", tmp_path / "out")
    with pytest.raises(DemoError, match="is not a folder"):
        check(file, tmp_path / "out")
    with pytest.raises(DemoError, match="both"):
        check(tmp_path, tmp_path / "x" / "..")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DemoError, match="no photos in it"):
        find(empty, "photos/", tmp_path / "out")


def test_names_that_cannot_be_keys(tmp_path):
    bad = os.fsencode(tmp_path) + b"/\xff.jpg"
    with open(bad, "wb"):  # noqa: PTH123  (a name that no str has)
        pass
    with pytest.raises(DemoError, match=r"xff.jpg' is not UTF-8.*rename it"):
        find(tmp_path, "photos/", tmp_path / "out")
    os.unlink(bad)  # noqa: PTH108
    deep = tmp_path.joinpath(*["d" * 250] * 5)
    deep.mkdir(parents=True)
    (deep / "a.jpg").touch()
    with pytest.raises(DemoError, match="1,024"):
        find(tmp_path, "photos/", tmp_path / "out")
