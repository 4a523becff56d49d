"""Who may do what: viewer < operator < admin."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

Role = Literal["viewer", "operator", "admin"]
Access = Literal["public", "viewer", "operator", "admin"]
"""What a route asks for: `public` is for everybody, known or not."""
RANK: Final[dict[Access, int]] = {"public": 0, "viewer": 1, "operator": 2, "admin": 3}


class Identity(msgspec.Struct, frozen=True):
    """Who makes a request: the name of the token, kept in the log as actor. `expires` is the end of a login."""

    name: str
    role: Access
    session: bytes | None = None
    expires: datetime | None = None

    def may(self, access: Access) -> bool:
        """Whether it has that role, or a higher one."""
        return RANK[self.role] >= RANK[access]


NOBODY = Identity("nobody", "public")
LOCAL = Identity("local", "admin")
"""Who comes in where no tokens are configured: somebody on this machine."""
