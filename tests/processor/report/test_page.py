"""The page, read without a browser: what is embedded, and that no text breaks out of it."""

import base64
import gzip
import hashlib
import json
import re
from datetime import datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from processor.report.page import COSINES, NO_COSINE, page
from processor.report.summary import Group
from tests.support.drawn_reports import points, summary

HOSTILE = [
    "photos/<script>alert(1)</script>.jpg",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "photos/\u2028\u2029.jpg",
    "photos/gpj.\u202efdp",
    "photos/\ud800\udfff\udc00.jpg",
    "photos/\x00\x1b[31m\n.jpg",
    '"><img src=x onerror=alert(1)>',
    "&lt;b&gt;&amp;",
    "k" * 5000,
]


class Reader(HTMLParser):
    """The elements of a page: every tag, and the text of those with an id."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.blocks: dict[str, str] = {}
        self.inline: dict[str, str] = {}
        self.policy = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        assert not {"src", "onload", "onerror"} & given.keys()
        assert given.get("href", "data:,") == "data:,"
        self._open = (given.get("id") or tag).removeprefix("data-")

    def handle_data(self, data: str) -> None:
        target = self.blocks if self._open not in ("script", "style", "title") else self.inline
        target[self._open] = target.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def column(self, name: str, kind: str) -> np.ndarray:
        return np.frombuffer(gzip.decompress(base64.b64decode(self.blocks[name])), kind)

    @property
    def keys(self) -> list[str]:
        return json.loads(gzip.decompress(base64.b64decode(self.blocks["keys"])))

    @property
    def shown(self) -> dict[str, Any]:
        return json.loads(self.blocks["shown"])


def test_the_columns_are_the_points() -> None:
    """In another order, the same for all; neighbours point to the same photos."""
    given = points(300)
    read = Reader(page(summary(), given))
    place = [given.keys.index(key) for key in read.keys]
    assert sorted(place) == list(range(300))
    np.testing.assert_array_equal(read.column("xy", "<f4").reshape(300, 2), given.xy[place])
    labels = [read.shown["points"]["labels"][n] for n in read.column("labels", "<i4")]
    assert labels == [given.labels[n] for n in place]
    near = read.column("neighbours", "<i4").reshape(300, 10)
    np.testing.assert_array_equal(np.array(place)[near], given.neighbours[place])
    cosines = read.column("cosines", "<i2").reshape(300, 10) / COSINES
    np.testing.assert_allclose(cosines, given.cosines[place], atol=0.5 / COSINES)
    assert read.column("sizes", "u1").reshape(300, 2).tolist() == [[64, 48]] * 300
    assert sum(name.startswith("sheet-") for name in read.blocks) == read.shown["points"]["sheets"]


def test_fewer_neighbours_than_asked_for() -> None:
    read = Reader(page(summary(), points(3)))
    near = read.column("neighbours", "<i4").reshape(3, 10)
    cosines = read.column("cosines", "<i2").reshape(3, 10)
    assert (near >= 0).sum() == 6
    np.testing.assert_array_equal(cosines == NO_COSINE, near < 0)


def test_the_summary() -> None:
    shown = Reader(page(summary(), points(5, population=7))).shown
    assert shown["points"]["population"] == 7
    assert (
        shown["summary"]["rejects"][0]["advice"] == "The upload broke off: upload the file again."
    )
    assert shown["summary"]["fits"][1]["moved"] is None
    naive = summary(
        at=datetime(1970, 1, 2), explained_variance=[float("nan")], captured=float("inf")
    )
    shown = Reader(page(naive, points(0))).shown
    assert shown["summary"]["at"] == 86400
    assert shown["summary"]["variance"] == [0]
    assert shown["summary"]["captured"] is None


def test_the_policy_allows_the_script_and_the_style_and_nothing_else() -> None:
    read = Reader(page(summary(), points(3)))
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(read.inline[name].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in read.policy
    assert read.policy.startswith("default-src 'none';")
    assert "unsafe" not in read.policy
    assert not re.search(
        r"https?:(?!//www\.w3\.org/)", re.sub(r"/\*!.*?\*/", "", read.inline["script"], flags=re.S)
    )


def test_hostile_texts_stay_texts() -> None:
    count = len(HOSTILE)
    odd = summary(
        bucket=HOSTILE[0],
        labels=[(text, 1) for text in HOSTILE],
        rejects=[Group(text, 1, [(text, text)]) for text in HOSTILE],
        network=HOSTILE[1],
        versions=dict.fromkeys(HOSTILE, HOSTILE[2]),
    )
    made = page(odd, points(count, keys=HOSTILE, labels=HOSTILE))
    assert made.isascii()
    plain = Reader(page(summary(), points(count)))
    read = Reader(made)
    assert read.tags == plain.tags
    assert read.blocks.keys() == plain.blocks.keys()
    assert all(key.isprintable() for key in read.keys)
    assert HOSTILE[0] in read.keys
    assert "photos/gpj.\\u202efdp" in read.keys


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_photos(count: int) -> None:
    read = Reader(page(summary(photos=count), points(count)))
    assert len(read.keys) == count
    assert read.shown["points"]["count"] == count


def test_coordinates_that_are_not_finite() -> None:
    given = points(4)
    given.xy[1] = np.nan, np.inf
    assert np.isfinite(Reader(page(summary(), given)).column("xy", "<f4")).all()


def test_it_is_never_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thumbnails give way: smaller ones, then fewer."""
    given = points(1500)
    whole = page(summary(), given)
    for share in (0.7, 0.4):
        most = int(len(whole) * share)
        monkeypatch.setattr("processor.report.page.MAX_BYTES", most)
        read = Reader(made := page(summary(), given))
        assert len(made) < most
        assert read.shown["points"]["tile"] < 64


def test_the_licences_of_what_is_embedded_are_in_it() -> None:
    assert "Permission is hereby granted, free of charge" in page(summary(), points(0))
