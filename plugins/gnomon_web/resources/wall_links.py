"""Wall links: logins that an operator makes for a screen, which may see what a wall shows and nothing else."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon.wire.problems import UNKNOWN_SESSION
from gnomon.wire.wall_links import MadeWallLink, WallLink
from gnomon_web.app_keys import AUTHENTICATOR, IDENTITY, actor_of
from gnomon_web.auth.sessions import Session
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.routes import Route

NameText = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewWallLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of a wall, such as the room that it is in, and the `days` after which its link ends."""

    name: NameText
    days: Annotated[int, Meta(ge=1, le=366)] = 90


def routes() -> list[Route]:
    """Return the routes of this module."""
    operator: dict[str, Any] = {"role": "operator", "tag": "session", "scoped": True}
    path = "/wall-links"
    return [
        Route(method="GET", path=path, handler=list_wall_links, **operator),
        Route(method="POST", path=path, handler=make_wall_link, status=201, **operator),
        Route(method="DELETE", path=path + "/{link_id}", handler=end_wall_link, errors=(404,), **operator),
    ]


async def list_wall_links(request: web.Request) -> list[WallLink]:
    """List the wall links that the sender has made, or all of them for an admin; newest first."""
    authenticator = request.app[AUTHENTICATOR]
    await authenticator.sessions.read()
    return [_shown(session) for session in authenticator.open_logins() if _may_see(request, session)]


async def make_wall_link(request: web.Request, body: NewWallLink) -> MadeWallLink:
    """Make a link with which a screen sees the wall, and nothing else, until it ends or is revoked."""
    made = await request.app[AUTHENTICATOR].make_link(request[IDENTITY], body.name, body.days, request)
    return MadeWallLink(link=_shown(made.session), secret=made.value)


async def end_wall_link(request: web.Request, link_id: str) -> WallLink:
    """Revoke a wall link, one's own or as an admin any, and close what was opened with it."""
    ended = await request.app[AUTHENTICATOR].end_sessions(
        lambda session: session.id == link_id and _may_see(request, session), actor_of(request)
    )
    if not ended:
        detail = f"no open wall link of yours has the id {link_id!r}; `GET /wall-links` lists them"
        raise ApiError(UNKNOWN_SESSION, detail, errors=[culprit("path", "link_id", detail)])
    return _shown(ended[0])


def _shown(session: Session) -> WallLink:
    return WallLink(**{name: getattr(session, name) for name in WallLink.__struct_fields__})


def _may_see(request: web.Request, session: Session) -> bool:
    identity = request[IDENTITY]
    return session.link and (session.creator == identity.name or (identity.may("admin") and identity.scope is None))
