"""Key digests: every key is found again among those named, and hardly any other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.store.key_digests import encode, named

names = st.sets(st.text(max_size=8), max_size=20)


@given(names, names)
def test_named_keys_are_found(keys: set[str], others: set[str]) -> None:
    assert named(keys | others, encode(keys)) >= keys
    assert named(keys, encode(keys)) == keys


def test_others_are_not() -> None:
    keys = [f"photos/{n}.jpg" for n in range(2048)]
    text = encode(keys[:1024])
    assert named(keys, text) == set(keys[:1024])
    assert len(text) < 5500
    assert named(keys, encode(())) == set()


def test_a_key_that_is_no_unicode_is_named() -> None:
    assert named(["a\ud800", "b"], encode(["a\ud800"])) == {"a\ud800"}


@pytest.mark.parametrize("text", [None, 7, "no base64!", "YWJj", "ü"])
def test_what_names_no_keys_may_mean_any(text: object) -> None:
    assert named(["a", "b"], text) == {"a", "b"}
