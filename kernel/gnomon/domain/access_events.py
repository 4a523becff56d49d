"""The events about access to a server of the kernel: logins, their ends, and refused requests."""

from __future__ import annotations

from datetime import datetime

from gnomon.domain.event_base import KernelEvent


class LoggedIn(KernelEvent, frozen=True, kw_only=True, tag="logged_in"):
    """Someone logged in to a server of this kernel.

    `actor` is the name under which the login acts. `via` is `token` or `oidc`, or `link` for one that the actor has
    made for a wall. `session` is the id of the login, which is not a secret, and `address` where the request came from.
    """

    actor: str
    via: str
    session: str
    expires: datetime
    address: str = ""


class LoggedOut(KernelEvent, frozen=True, kw_only=True, tag="logged_out"):
    """A login of `name` was ended by `actor` before its time. `reason` is `logout`, `revoked` or `reload`."""

    actor: str
    name: str
    session: str
    reason: str


class AccessDenied(KernelEvent, frozen=True, kw_only=True, tag="access_denied"):
    """Requests were refused: `count` of them since `first`, of one actor, for one reason, from one address.

    `reason` is the kind of the problem that the sender got, such as `invalid-token` or `insufficient-role`. `actor` is
    `nobody` for a request without a valid login. `address` is a network for IPv6, and `others` for the many addresses
    of a flood. `detail` says what was requested last.
    """

    actor: str
    reason: str
    address: str
    detail: str = ""
    count: int = 1
    first: datetime | None = None


AccessFact = LoggedIn | LoggedOut | AccessDenied
