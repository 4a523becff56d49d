"""Roles: viewer < operator < admin."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

import msgspec

Role = Literal["viewer", "operator", "admin"]
Access = Literal["public", "viewer", "operator", "admin"]
"""The role that a route requires: `public` needs none."""
RANK: Final[dict[Access, int]] = {"public": 0, "viewer": 1, "operator": 2, "admin": 3}


class Scope(msgspec.Struct, frozen=True):
    """The jobs that a token is limited to: those whose ids match one of `jobs`, and those with one of `tags`."""

    jobs: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def has_tag(self, tags: Iterable[str]) -> bool:
        """Whether one of a job's tags belongs to it."""
        return not set(self.tags).isdisjoint(tags)

    def __str__(self) -> str:
        named = {"the jobs": self.jobs, "the tags": self.tags}
        return " and ".join(f"{what} {', '.join(words)}" for what, words in named.items() if words)


class Identity(msgspec.Struct, frozen=True):
    """The sender of a request. `name` is the token's and the actor in the log.

    `session` is the id of a login and `expires` its end, or that of a token. `token` is the digest of the token with
    which the request or the login was made: while it is not configured any more, the identity is not valid. `scope`
    are the jobs that it is limited to, None for all. With `is_link` it may use only the calls of a wall.
    """

    name: str
    role: Access
    session: str | None = None
    expires: datetime | None = None
    token: bytes | None = None
    scope: Scope | None = None
    is_link: bool = False

    def may(self, access: Access) -> bool:
        """Whether it has that role or a higher one."""
        return RANK[self.role] >= RANK[access]


NOBODY = Identity("nobody", "public")
LOCAL = Identity("local", "admin")
"""The kernel's own user, or root, where no tokens are configured; see peer_owner for other users of the machine."""
