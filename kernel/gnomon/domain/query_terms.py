"""The terms of a query for a list: `status:failed,missed late>1m since:-7d "no answer"`.

Terms are separated by spaces. A term is a key, an operator and values with commas between them, or a text to search
for. Double quotes keep spaces, commas and colons together; a backslash before a quote or a backslash keeps that.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from gnomon.text import nearest

LONGEST = 1_000
"""Characters of a query."""
SHOWN = 60
_HEAD = re.compile(r"(?P<key>[A-Za-z_]+)(?P<operator>>=|<=|[:><=])")
_PART = re.compile(
    r'"(?P<quoted>(?:[^"\\]|\\.)*)(?P<end>"?)|(?P<space>\s+)|(?P<comma>,)|(?P<plain>[^\s",]+)', re.DOTALL
)
_PLAIN = re.compile(r'[^\s",:<>=\\]+')


class ListQueryError(ValueError):
    """A query that is not valid. `at` is the place of what is wrong, counted from 0, `length` its characters."""

    def __init__(self, at: int, length: int, problem: str) -> None:
        super().__init__(f"at character {at + 1}: {problem}")
        self.at = at
        self.length = length
        self.problem = problem


class Value(NamedTuple):
    """A value of a term, or a text to search for, and where it is in the query."""

    text: str
    start: int
    end: int

    def refused(self, expected: str) -> ListQueryError:
        """Return the error for a value that is not what was expected."""
        return ListQueryError(self.start, self.end - self.start, f"{expected}, got {self.text[:SHOWN]!r}")


class Term(NamedTuple):
    """A key with its operator and values, or a text: then both are empty."""

    key: str
    operator: str
    values: tuple[Value, ...]
    start: int
    end: int

    @property
    def value(self) -> Value:
        """The only value; ListQueryError where there are several."""
        if len(self.values) > 1:
            raise self.values[1].refused(f"{self.key!r} takes one value")
        return self.values[0]


def parse_terms(query: str, *, is_partial: bool = False) -> list[Term]:
    """Return the terms of a query; ListQueryError for one that is not valid.

    With `is_partial`, a value or a closing quote may be missing, as in a query that is being typed.
    """
    if len(query) > LONGEST:
        raise ListQueryError(LONGEST, len(query) - LONGEST, f"expected at most {LONGEST:,} characters")
    terms = [_term(query, *place, is_partial=is_partial) for place in _places(query)]
    for term in terms if not is_partial else ():
        for value in term.values:
            if not value.text:
                before = query[term.start : value.start]
                problem = f"expected a value after {before!r}" if before else "expected a text between the quotes"
                raise ListQueryError(value.start, 0, problem)
    return terms


class Place(NamedTuple):
    """Where a query is being typed: the text of a value of `key`, or a word that may become a key; None then."""

    key: str | None
    typed: str
    start: int
    end: int


def place_at(query: str, at: int) -> Place:
    """Return the place of a query that is not complete, with `at` of its characters before the cursor."""
    for term in parse_terms(query, is_partial=True):
        if not term.start <= at <= term.end:
            continue
        if not term.key:
            return Place(None, query[term.start : at], term.start, term.end)
        if at < term.values[0].start:
            return Place(None, query[term.start : at], term.start, term.values[0].start)
        value = next(value for value in term.values if at <= value.end)
        return Place(term.key, value.text, value.start, value.end)
    return Place(None, "", at, at)


def expect_key(term: Term, known: Collection[str]) -> None:
    """Raise ListQueryError for a key that a list does not have."""
    if term.key in known:
        return
    close = nearest(term.key, known)
    hint = f"did you mean {close!r}?" if close else f"expected one of {', '.join(known)}."
    problem = f"there is no key {term.key!r}; {hint} A text to search for may be put in double quotes"
    raise ListQueryError(term.start, len(term.key), problem)


def quoted(text: str) -> str:
    """Return a value as it is written in a query."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _places(query: str) -> Iterator[tuple[int, int]]:
    """Yield where each term begins and ends."""
    begin = None
    for part in _PART.finditer(query):
        if part["space"] is None:
            begin = part.start() if begin is None else begin
        elif begin is not None:
            yield begin, part.start()
            begin = None
    if begin is not None:
        yield begin, len(query)


def _term(query: str, start: int, end: int, *, is_partial: bool) -> Term:
    head = _HEAD.match(query, start, end)
    if head is None:
        text = "".join(value.text for value in _values(query, start, end, ",", is_partial=is_partial))
        return Term("", "", (Value(text, start, end),), start, end)
    values = tuple(_values(query, head.end(), end, None, is_partial=is_partial))
    return Term(head["key"].lower(), head["operator"], values, start, end)


def _values(query: str, start: int, end: int, comma: str | None, *, is_partial: bool) -> Iterator[Value]:
    """Yield the values between commas; with `comma`, these are part of the text."""
    text, begin = "", start
    for part in _PART.finditer(query, start, end):
        if part["comma"] is not None and comma is None:
            yield Value(text, begin, part.start())
            text, begin = "", part.end()
        elif part["quoted"] is not None:
            if not part["end"] and not is_partial:
                raise ListQueryError(part.start(), end - part.start(), "the quote that opens here is not closed")
            text += re.sub(r"\\(.)", r"\1", part["quoted"], flags=re.DOTALL)
        else:
            text += part["comma"] or part["plain"]
    yield Value(text, begin, end)
