"""Hides the secrets of a run in every text that the kernel keeps of it: results, errors, progress and log lines."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from gnomon.conversion import Secret

MASK = "***"
SHORTEST = 6
"""Characters of the shortest secret that is hidden: a shorter one would hide parts of ordinary words."""


class Mask:
    """The secrets of one run. They may be added while another thread hides those that are known."""

    __slots__ = ("_texts",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._texts: tuple[str, ...] = ()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide more secrets, in the forms that errors and logs show: plain, escaped, quoted for a URL, in base64."""
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        # The longest first, since one may be a part of another.
        self._texts = tuple(sorted(forms | set(self._texts), key=lambda text: (-len(text), text)))

    def hide(self, text: str) -> str:
        """Return a text with `***` in place of every secret. The methods of a subclass of str are not called."""
        for secret in self._texts:
            if str.__contains__(text, secret):
                text = str.replace(text, secret, MASK)
        return text

    def hide_in(self, value: Any) -> Any:
        """Return JSON data with `***` in place of every secret in its texts and keys."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, list):
            return [self.hide_in(item) for item in value]
        if isinstance(value, dict):
            return {self.hide(key): self.hide_in(item) for key, item in value.items()}
        return value

    def hide_fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a progress event without secrets."""
        hidden = {name: self.hide_in(value) for name, value in fields.items()}
        if steps := fields.get("steps"):
            hidden["steps"] = [msgspec.structs.replace(step, name=self.hide(step.name)) for step in steps]
        return hidden


def hide_secret(value: Any) -> str:
    """Encode a Secret in JSON as `***`; an `enc_hook` of msgspec."""
    if isinstance(value, Secret):
        return MASK
    raise NotImplementedError(f"objects of type {type(value).__name__} cannot be encoded")


def _forms(secret: str) -> Iterable[str]:
    secret = secret.strip()
    for text in dict.fromkeys((secret, *map(str.strip, secret.splitlines()))):  # output is kept line by line
        if len(text) >= SHORTEST:
            yield text
            yield repr(text)[1:-1]
            yield json.dumps(text)[1:-1]
            yield json.dumps(text, ensure_ascii=False)[1:-1]
            yield quote(text, safe="")
            data = text.encode("utf-8", "surrogateescape")
            yield repr(data)[2:-1]
            yield from _in_base64(data)


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield how data looks in base64 of a longer text, such as `user:password`, in both alphabets.

    What precedes it may have any length, so it may begin at any of three places of a group. Characters that it shares
    with its neighbours are left out.
    """
    yield base64.b64encode(data).decode()
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(bytes(before) + data).decode()
        whole = encoded[shared : (before + len(data)) * 8 // 6]
        yield whole
        yield whole.replace("+", "-").replace("/", "_")
