"""Bodies that a worker imports."""

from __future__ import annotations

from typing import Any

from gnomon import Context


def add(a: int, b: int) -> int:
    return a + b


def report(context: Context, **kwargs: Any) -> dict[str, Any]:
    context.progress(50, "half way")
    return kwargs
