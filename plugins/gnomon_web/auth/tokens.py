"""Bearer tokens as the config has them: their strength, their end, and their comparison."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import msgspec

from gnomon.config_table import NO_SECRET, ConfigTable, OptionalSecret
from gnomon.domain.operator_actions import is_reserved
from gnomon_web.auth.roles import Role, Scope

MIN_LENGTH = 16
"""Characters: 16 random ones of base64 are 96 bits, which withstand years of guessing."""
MIN_BITS = 30.0
"""The least estimate of a token's entropy. 16 random digits are estimated at 45 bits, 16 characters of base64 at 61."""
OWN_BITS = 8.0
"""The least estimate beside common words: `password12345678` has 2."""
GENERATE = "generate one with: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
_PATTERN = re.compile(r"[A-Za-z0-9._:*?\[\]!-]{1,128}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_COMMON_WORDS = re.compile(
    r"change[-_ ]?(?:me|it|this)|pass(?:word|wd|w0rd|phrase)|p[a@]ss?w[o0]rd|let[-_ ]?me[-_ ]?in|qwert[yz](?:uiop)?|"
    r"asdf(?:ghjkl)?|default|example|secret|token|admin|operator|viewer|gnomon|welcome|replace|your|insert|x{3,}",
    re.IGNORECASE,
)
_OWN_CHARACTERS = 8
"""Letters and digits that a token needs beside common words: `changeme-password-123` has three."""


class Token(ConfigTable, frozen=True, forbid_unknown_fields=True):
    """A token and its role: exactly one of `token` and `hash`, which is `sha256:` and the hex digest of the token.

    `jobs` and `tags` limit it to the jobs whose ids match one of the patterns, or that have one of the tags.
    `expires` is a time with an offset, or a date: the token is valid until the end of that day in UTC.
    """

    name: str
    role: Role
    token: OptionalSecret = NO_SECRET
    hash: str | None = None
    expires: Any = None
    jobs: list[str] | None = None
    tags: list[str] | None = None

    def __post_init__(self) -> None:
        """Refuse a token that is missing, given twice or easy to guess."""
        if not self.name.strip():
            raise ValueError("a token needs a name, which the log gives as the actor of what is done with it")
        if is_reserved(self.name):
            raise ValueError(f"the token name {self.name!r} is reserved for acts of the kernel itself: choose another")
        if (self.token is None) == (self.hash is None):
            raise ValueError(f"token {self.name!r} needs exactly one of `token` and `hash`")
        if self.token is not None and (weakness := weakness_of(self.token.reveal())):
            raise ValueError(f"token {self.name!r} {weakness} and could be guessed; {GENERATE}")
        if self.hash is not None and not _HASH.fullmatch(self.hash):
            raise ValueError(f"the hash of token {self.name!r} must be `sha256:` and 64 lower-case hex digits")
        self._check_scope()
        msgspec.structs.force_setattr(self, "expires", _moment(self.name, self.expires))

    def _check_scope(self) -> None:
        for name in ("jobs", "tags"):
            if getattr(self, name) == []:
                raise ValueError(f"{name} of token {self.name!r} is empty: a token without limits does not have it")
        for pattern in self.jobs or ():
            if not _PATTERN.fullmatch(pattern):
                raise ValueError(
                    f"jobs of token {self.name!r} has {pattern!r}; expected ids of jobs or patterns such as 'reports.*'"
                )

    @property
    def scope(self) -> Scope | None:
        """The jobs that the token is limited to, None for all."""
        if self.jobs is None and self.tags is None:
            return None
        return Scope(tuple(self.jobs or ()), tuple(self.tags or ()))

    @property
    def digest(self) -> bytes:
        """The SHA-256 digest of the token."""
        if self.token is not None:
            return digest_of(self.token.reveal())
        return bytes.fromhex((self.hash or "").removeprefix("sha256:"))

    def has_expired(self, now: datetime) -> bool:
        """Whether the token is no longer valid."""
        return self.expires is not None and now >= self.expires


def digest_of(token: str) -> bytes:
    """Return the digest with which a token is compared; its length and time reveal nothing about other tokens."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def weakness_of(token: str) -> str | None:
    """Return what makes a token easy to guess, to follow its name in a sentence; None for a strong one."""
    if len(token) < MIN_LENGTH:
        return f"has fewer than {MIN_LENGTH} characters"
    if any(character.isspace() or not character.isprintable() for character in token):
        return "has spaces or control characters, which cannot be sent in a header,"
    plain = "".join(character for character in token.casefold() if character.isalnum())
    own = "".join(character for character in _COMMON_WORDS.sub("", token) if character.isalnum())
    if len(own) < min(_OWN_CHARACTERS, len(plain)):
        return "consists of common words"
    if (plain + plain).find(plain, 1) < len(plain):
        return "repeats a shorter text"
    if _entropy(plain) < MIN_BITS or _entropy(own.casefold()) < OWN_BITS:
        return "follows a simple pattern"
    return None


def _entropy(text: str) -> float:
    """Return Shannon's entropy in bits of the characters that do not continue a row such as `1234` or `aaaa`."""
    steps = [ord(after) - ord(before) for before, after in pairwise(text)]
    continues = [False, False, *(step == before and abs(step) <= 1 for before, step in pairwise(steps))]
    counts = Counter(character for character, is_row in zip(text, continues, strict=False) if not is_row)
    total = counts.total()
    return -sum(count * math.log2(count / total) for count in counts.values())


def _moment(name: str, expires: Any) -> datetime | None:
    """Return the end of a token. TOML has times with and without offsets, and dates."""
    if isinstance(expires, str):
        try:
            expires = date.fromisoformat(expires) if len(expires) == 10 else datetime.fromisoformat(expires)
        except ValueError:
            expires = repr(expires)
    if isinstance(expires, datetime):
        if expires.tzinfo is None:
            raise ValueError(f"expires of token {name!r} needs an offset: write {expires.isoformat()}Z for UTC")
        return expires.astimezone(UTC)
    if isinstance(expires, date):
        return datetime.combine(expires, time(), UTC) + timedelta(days=1)
    if expires is None:
        return None
    raise ValueError(
        f"expires of token {name!r} must be a date such as 2027-01-31, or a time such as 2027-01-31T18:00:00+08:00, "
        f"without quotes; got {expires}"
    )
