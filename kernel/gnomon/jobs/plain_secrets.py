"""Finds arguments that look like secrets in plain text: the log, the API and every viewer would show them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from gnomon.domain.secret_references import reference_in

LONG = 20
"""Characters from which on a text may be a random key: shorter ones are names, dates and codes."""
RANDOM_BITS = 3.3
"""Bits per character (Shannon) from which on a text may be random: hexadecimal keys have 3.5 to 4, base64 4 to 5.5."""
RANDOM_CHANGES = 0.35
"""Share of neighbouring letters and digits of different kinds (digit, upper case, lower case). Random keys have 0.4 to
0.7; names and paths, which have as many bits as keys, 0.05 to 0.33."""

_WORDS = (
    r"(?:password|passwd|passphrase|pwd|secret|token|(?:api|access|private|auth|secret)[_-]?key|credentials?|dsn|bearer|"
    r"authorization|cookie)s?"
)
_NAMES = re.compile(rf"(?:^|[_\-. ]){_WORDS}(?:$|[_\-. ])", re.IGNORECASE)
_OPTION = re.compile(rf"--?(?:[\w-]*[_-])?{_WORDS}", re.IGNORECASE)
_ASSIGNED = re.compile(rf"(?:^|[?&;\s]|--?)(?:[\w-]*[_-])?{_WORDS}=[^\s&;]{{4,}}", re.IGNORECASE)
_SCHEME = re.compile(r"(?:^|[\s:])(?:basic|bearer)\s+[A-Za-z0-9+/=_.~-]{8,}", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PREFIXES = re.compile(
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|AKIA[A-Z0-9]{12,}|"
    r"sk-[\w-]{16,}|sk_live_\w{10,}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_PASSWORD_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z0-9+/=_.~-]+")
_DIGEST = re.compile(r"[0-9a-f]{32,}", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def plain_secrets(value: Any, place: str, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the places of values that look like secrets, such as `kwargs.login.token`, each with the reason."""
    if reference_in(value) is not None:
        return
    if isinstance(value, Mapping):
        for key, nested in value.items():
            yield from plain_secrets(nested, f"{place}.{key}", str(key))
    elif isinstance(value, list | tuple):
        for i, nested in enumerate(value):
            before = value[i - 1] if i else None
            option = before if isinstance(before, str) and _OPTION.fullmatch(before) else None
            yield from plain_secrets(nested, f"{place}[{i}]", option or name)
    elif isinstance(value, str) and value and (reason := _reason(value, name)) is not None:
        yield place, reason


def _reason(text: str, name: str) -> str | None:
    if _NAMES.search(_CAMEL.sub("_", name)):
        return f"its name is {name!r}"
    if _PREFIXES.search(text):
        return "it has the form of a known kind of key"
    if _ASSIGNED.search(text) or _SCHEME.search(text):
        return "it gives a password, token or key by name"
    if _PASSWORD_IN_URL.search(text):
        return "it is an address with a password"
    return "it looks random" if _looks_random(text) else None


def _looks_random(text: str) -> bool:
    if len(text) < LONG or not _KEY.fullmatch(text) or _UUID.fullmatch(text) or not any(map(str.isdigit, text)):
        return False
    if _DIGEST.fullmatch(text):
        return True
    kinds = [(char.isdigit(), char.isupper()) for char in text if char.isalnum()]
    changes = sum(one != following for one, following in pairwise(kinds))
    return changes >= RANDOM_CHANGES * len(text) and _bits(text) >= RANDOM_BITS


def _bits(text: str) -> float:
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)
