"""Printable text: what terminals, pagers and the journal show exactly as it is.

Keys, labels and messages of AWS come from strangers. A control character in one could move the cursor,
recolour the screen or make ``journalctl`` hide the line; a bidirectional one could reorder what is read.
"""

import json


def printable(text: str) -> str:
    """``text`` with each character that is not printable in JSON's form, ``\\u001b``; no line breaks.

    JSON that is treated so is the same JSON. Lone surrogates become printable, too.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
