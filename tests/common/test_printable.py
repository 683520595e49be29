"""Printable text: nothing in it reaches a terminal as anything but itself."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.printable import printable

ANY_TEXT = st.text(st.characters())  # lone surrogates too


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photos/Äpfel 🍎/1.jpg", "photos/Äpfel 🍎/1.jpg"),
        ("\x1b[2J\x07", r"\u001b[2J\u0007"),
        ("a\r\nb\x7f\x85\u2028", r"a\r\nb\u007f\u0085\u2028"),
        ("gpj.\u202exe", r"gpj.\u202exe"),
        ("\udc80\U000e0001", r"\udc80\udb40\udc01"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY_TEXT)
def test_any_text_becomes_printable_and_stays_the_same_json(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()
    document = json.dumps({text: text}, ensure_ascii=False)
    assert json.loads(printable(document)) == json.loads(json.dumps({text: text}))
