"""What a misspelt word was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like `word`, whatever its case; None if none is like it."""
    by_lower = {name.lower(): name for name in known}
    return next((by_lower[found] for found in get_close_matches(word.lower(), by_lower, n=1)), None)


def close_match(word: str, known: Iterable[str]) -> str:
    """Say `; did you mean 'it'?` where something known is spelled nearly so, else nothing."""
    hint = nearest(word, known)
    return f"; did you mean {hint!r}?" if hint else ""
