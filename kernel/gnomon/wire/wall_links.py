"""Links for walls on the wire: logins that an operator makes for a screen."""

from __future__ import annotations

from datetime import datetime

import msgspec


class WallLink(msgspec.Struct, kw_only=True):
    """A wall link that is open: its id is not a secret. `creator` made it, at `address`."""

    id: str
    name: str
    creator: str
    address: str
    begun: datetime
    expires: datetime


class MadeWallLink(msgspec.Struct, kw_only=True):
    """A new link, whose `secret` is shown this once.

    Anyone who has it sees the wall. It belongs into the fragment of an address, as in `/?wall=1#k=SECRET`, which
    browsers do not send.
    """

    link: WallLink
    secret: str
