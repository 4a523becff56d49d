"""Which functions orders from outside may name: `[kernel] allow_functions`.

Naming a function is running code, so an order over HTTP may name none unless the deployment allows it. A pattern such
as `myapp.tasks:*` allows what its module defines, and nothing that the module only imports: `myapp.tasks:os.system` is
a function of `os`.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from gnomon.errors import FunctionNotAllowedError
from gnomon.jobs.callables import load_function, reference

_WILDCARDS = frozenset("*?[")


class AllowedFunctions:
    """The patterns of `allow_functions`, matched against "package.module:callable"."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.patterns = tuple(patterns)

    def check(self, target: str) -> None:
        """Raise FunctionNotAllowedError for a function that no pattern allows; it is imported only if its name is."""
        if target in self.patterns:
            return
        if not self._allows(target):
            raise FunctionNotAllowedError(target, self.patterns)
        found = reference(load_function(target))
        if not self._allows(found):
            raise FunctionNotAllowedError(target, self.patterns, found)

    def _allows(self, target: str) -> bool:
        return any(fnmatchcase(target, pattern) for pattern in self.patterns if not _WILDCARDS.isdisjoint(pattern))


def pattern_problem(pattern: str) -> str | None:
    """Return why a text cannot be a pattern of `allow_functions`, or None."""
    module, colon, name = pattern.partition(":")
    if not colon or not module or not name:
        return f'{pattern!r} is not valid: expected "package.module:callable", or a pattern such as "myapp.tasks:*"'
    if not _WILDCARDS.isdisjoint(module.partition(".")[0]):
        return f"{pattern!r} would allow functions of every package: begin with the name of one"
    return None
