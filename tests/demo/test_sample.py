"""The drawn fruit: the same every time, and photos for the service."""

import hashlib

import numpy as np
import pytest

from demo.fruit import SPECIES
from demo.sample import SIDE, draw, write
from processor.photos.decode import decode


def test_photos_are_the_same_every_time_and_decodable(tmp_path):
    write(tmp_path / "one", per_species=2)
    write(tmp_path / "two", per_species=2)
    one, two = (
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jpg")}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    assert len(one) == 2 * len(SPECIES)
    assert "Apple/apple-01.jpg" in one
    for data in one.values():
        photo = decode(data, 64)
        assert (photo.width, photo.height) == (SIDE, SIDE)
        assert photo.pixels.std() > 20


@pytest.mark.parametrize("species", SPECIES, ids=lambda species: species.name)
def test_no_two_photos_of_a_species_are_alike(species):
    digests = {hashlib.sha256(draw(species, n).tobytes()).digest() for n in (1, 2, 3)}
    assert len(digests) == 3


def test_species_differ_in_colour():
    middle = slice(SIDE // 3, 2 * SIDE // 3)
    colours = [
        np.mean([np.asarray(draw(each, n))[middle, middle].mean((0, 1)) for n in (1, 2, 3)], axis=0)
        for each in SPECIES
    ]
    apart = [np.linalg.norm(a - b) for n, a in enumerate(colours) for b in colours[:n]]
    assert min(apart) > 8
