"""Acts on many jobs or runs at once: which ones, and what came of each."""

from __future__ import annotations

import msgspec

MOST_AT_ONCE = 1_000
"""Jobs or runs of one act: it is one commit, and its answer one page."""
MOST_MATCHED = 10_000
"""Runs of one act that a query asks for."""


class JobSelection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jobs to act on: all conditions that are given must match, and one must be given.

    `tag` is one of the tags of a job; `q` is searched in ids, names and descriptions, ignoring case.
    """

    ids: list[str] | None = None
    tag: str | None = None
    q: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no condition is given."""
        return self.ids is None and not self.tag and not self.q


class RunSelection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Runs to act on that have not ended: all conditions that are given must match, and one must be given.

    `query` is a text as that of a list (gnomon.domain.list_query), without `ids`.
    """

    ids: list[str] | None = None
    job_id: str | None = None
    tag: str | None = None
    query: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no condition is given."""
        return self.ids is None and not self.job_id and not self.tag and not self.query


class ActOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an act on one job or run: `changed`, or why it was refused."""

    id: str
    changed: bool
    error: str | None = None
