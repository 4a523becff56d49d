"""Text that comes from bodies and plugins, made fit to be kept: writable as UTF-8, and of bounded size."""

from __future__ import annotations


def writable(text: str) -> str:
    """Escape what stores cannot take: lone surrogates are no UTF-8, and a NUL ends a text for many readers."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def shorten(text: str, limit: int) -> str:
    """Make a text writable, and keep both ends of one longer than `limit` characters, saying how much is left out."""
    text = writable(text)
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
