"""Patterns of job ids, as in fnmatch, as regular expressions of PostgreSQL."""

from __future__ import annotations

NOTHING = "(?!)"
"""Matches no text."""


def expression(pattern: str) -> str:
    """Return what matches the same ids as `fnmatch.fnmatchcase` with this pattern."""
    parts: list[str] = []
    place = 0
    while place < len(pattern):
        character = pattern[place]
        place += 1
        if character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "[" and (end := _end_of_set(pattern, place)) is not None:
            parts.append(_set(pattern[place:end]))
            place = end + 1
        else:
            parts.append(_literal(character))
    return f"^{''.join(parts)}$"


def _end_of_set(pattern: str, start: int) -> int | None:
    """Return where the set that begins there ends: its first character may be a `]`, also after `!`."""
    first = start + 1 if pattern[start : start + 1] == "!" else start
    end = pattern.find("]", first + 1)
    return end if end != -1 else None


def _set(inner: str) -> str:
    negated = inner.startswith("!")
    rest = inner[1:] if negated else inner
    members: list[str] = []
    while rest:
        if len(rest) > 2 and rest[1] == "-":
            if rest[0] <= rest[2]:  # the others are empty
                members.append(f"{_literal(rest[0])}-{_literal(rest[2])}")
            rest = rest[3:]
        else:
            members.append(_literal(rest[0]))
            rest = rest[1:]
    if not members:
        return "." if negated else NOTHING
    return f"[{'^' if negated else ''}{''.join(members)}]"


def _literal(character: str) -> str:
    if character.isalnum() and character.isascii():
        return character
    return f"\\U{ord(character):08x}"
