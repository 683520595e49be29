"""CloudWatch Logs Insights' language, as far as the saved queries use it: a grammar, and filters."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"[^"]*")|(?P<pattern>/[^/]+/)|(?P<number>\d+[smhd]?)"""
    r"""|(?P<name>@?[A-Za-z_][\w.]*|`[^`]+`)|(?P<sign>!=|>=|<=|[|,()\[\]=<>/*+-]))"""
)
_FUNCTIONS = {"sum", "max", "min", "avg", "count", "count_distinct", "coalesce", "bin"}


@dataclass
class Query:
    """What a query uses: fields of log lines, and the texts with which each is compared."""

    fields: set[str] = field(default_factory=set)
    texts: list[tuple[str, str]] = field(default_factory=list)
    filters: list[Any] = field(default_factory=list)

    def texts_of(self, name: str) -> set[str]:
        return {text for field_, text in self.texts if field_ == name}

    def matches(self, line: Mapping[str, Any]) -> bool:
        flat = dict(flattened(line))
        return all(_holds(each, flat) for each in self.filters)


def flattened(line: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The fields that Insights discovers in a line of JSON: nested ones have dots in their names."""
    found: dict[str, Any] = {}
    for name, value in line.items():
        inner = value if isinstance(value, dict) else {}
        found |= flattened(inner, f"{prefix}{name}.") or {f"{prefix}{name}": value}
    return found


def parse(text: str) -> Query:
    """Raises ValueError where the text is not a query."""
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        code = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
        self._tokens = list(_tokens(code))
        self._made: set[str] = set()  # by `as`
        self._query = Query()

    def query(self) -> Query:
        while True:
            command = self._take("name")
            match command:
                case "fields":
                    self._list(self._aliased)
                case "filter":
                    self._query.filters.append(self._or())
                case "stats":
                    self._list(self._aliased)
                    if self._next_is("by"):
                        self._list(self._aliased)
                case "sort":
                    self._value()
                    if self._take("name") not in ("asc", "desc"):
                        raise ValueError("sort: asc or desc")
                case "limit":
                    self._take("number")
                case _:
                    raise ValueError(f"no such command: {command}")
            if not self._tokens:
                return self._query
            self._expect("|")

    def _list(self, item: Any) -> None:
        item()
        while self._next_is(","):
            item()

    def _aliased(self) -> None:
        self._value()
        while self._next_is("/"):
            self._value()
        if self._next_is("as"):
            self._made.add(self._take("name"))

    def _or(self) -> Any:
        parts = [self._comparison()]
        while self._next_is("or"):
            parts.append(self._comparison())
        return parts

    def _comparison(self) -> Any:
        name = self._take("name")
        self._use(name)
        if self._next_is("="):
            texts = [self._take("text")[1:-1]]
        elif self._next_is("like"):
            return name, re.compile(self._take("pattern")[1:-1])
        else:
            self._expect("in")
            self._expect("[")
            texts = [self._take("text")[1:-1]]
            while self._next_is(","):
                texts.append(self._take("text")[1:-1])
            self._expect("]")
        self._query.texts += [(name, text) for text in texts]
        return name, texts

    def _value(self) -> None:
        kind, token = self._tokens.pop(0)
        if kind == "name" and self._next_is("("):
            if token not in _FUNCTIONS:
                raise ValueError(f"no such function: {token}")
            self._list(self._value)
            self._expect(")")
        elif kind == "name":
            self._use(token)
        elif kind != "number":
            raise ValueError(f"unexpected: {token}")

    def _use(self, name: str) -> None:
        if not name.startswith("@") and name not in self._made:
            self._query.fields.add(name)

    def _take(self, kind: str) -> str:
        found, token = self._tokens.pop(0) if self._tokens else ("end", "")
        if found != kind:
            raise ValueError(f"expected a {kind}, found {token!r}")
        return token

    def _next_is(self, token: str) -> bool:
        is_next = bool(self._tokens) and self._tokens[0][1] == token
        if is_next:
            self._tokens.pop(0)
        return is_next

    def _expect(self, token: str) -> None:
        if not self._next_is(token):
            raise ValueError(f"expected {token!r} before {self._tokens[:3]}")


def _tokens(code: str) -> Iterator[tuple[str, str]]:
    at = 0
    code = code.rstrip()
    while at < len(code):
        found = _TOKEN.match(code, at)
        if not found or not found.lastgroup:
            raise ValueError(f"not a token: {code[at : at + 20]!r}")
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()


def _holds(parts: list[Any], flat: Mapping[str, Any]) -> bool:
    for name, wanted in parts:
        value = flat.get(name)
        if isinstance(wanted, list) and value in wanted:
            return True
        if isinstance(wanted, re.Pattern) and value is not None and wanted.search(str(value)):
            return True
    return False
