"""IAM: what an identity's policy documents allow, decided as AWS documents it.

Policies of resources (a bucket's, a queue's, a key's), boundaries and session policies do not count.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Document = Mapping[str, Any]  # a policy or a statement, its members spelt as IAM spells them
Context = Mapping[str, str]  # the request's condition keys, such as s3:prefix


def allows(
    documents: Iterable[Document], action: str, resource: str, context: Context | None = None
) -> bool:
    """Whether a statement allows the action on the resource, and none denies it.

    Raises ValueError for a condition that is not known here.
    """
    effects = {
        statement["Effect"]
        for document in documents
        for statement in statements(document)
        if concerns(statement, action, resource, context or {})
    }
    return effects == {"Allow"}


def statements(document: Document) -> list[Document]:
    """The statements of a document, which IAM takes as a list, or a single one without."""
    return members(document.get("Statement", []))


def members(value: Any) -> list[Any]:
    """A member that IAM takes as a list, or as a single value without."""
    return value if isinstance(value, list) else [value]


def concerns(statement: Document, action: str, resource: str, context: Context) -> bool:
    """Whether the statement is about such a request. Raises ValueError as :func:`allows`."""
    return (
        _is_listed(statement, "Action", action.lower())
        and _is_listed(statement, "Resource", resource)
        and all(
            _holds(operator, key, members(values), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _is_listed(statement: Document, name: str, value: str) -> bool:
    inverse = f"Not{name}"
    listed = name if name in statement else inverse
    patterns = members(statement.get(listed, []))
    if name == "Action":
        patterns = [each.lower() for each in patterns]
    return any(matches(each, value) for each in patterns) == (listed == name)


def matches(pattern: str, value: str) -> bool:
    """Whether a pattern of IAM, in which ``*`` and ``?`` stand for any characters, fits ``value``."""
    return _compiled(pattern).fullmatch(value) is not None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = (re.escape(each) for each in re.split(r"([*?])", pattern))
    return re.compile("".join({r"\*": ".*", r"\?": "."}.get(each, each) for each in parts), re.S)


_OPERATORS: dict[str, Callable[[str, str], bool]] = {  # of a value in the policy, and the request's
    "StringEquals": lambda wanted, found: wanted == found,
    "StringEqualsIgnoreCase": lambda wanted, found: wanted.lower() == found.lower(),
    "StringLike": matches,
    "ArnEquals": matches,
    "ArnLike": matches,
    "Bool": lambda wanted, found: wanted.lower() == found.lower(),
}


def _holds(operator: str, key: str, wanted: list[Any], context: Context) -> bool:
    """Whether a condition holds; one about a key that the request lacks only if it is inverse, or
    says ``IfExists``."""
    name = operator.removeprefix("ForAnyValue:").removesuffix(
        "IfExists"
    )  # the values here are single
    found = {each.lower(): value for each, value in context.items()}.get(key.lower())
    if name == "Null":
        return (found is None) == (str(wanted[0]).lower() == "true")
    inverse = "Not" in name
    test = _OPERATORS.get(name.replace("Not", "", 1))
    if test is None:
        raise ValueError(f"the condition {operator} is not known to the embedded AWS")
    if found is None:
        return inverse or operator.endswith("IfExists")
    return any(test(str(each), found) for each in wanted) != inverse
