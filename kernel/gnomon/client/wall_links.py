"""The client's calls for links with which a screen sees the wall of the dashboard."""

from __future__ import annotations

from gnomon.client.session import Session, segment
from gnomon.domain.parameter_checks import checked_methods
from gnomon.wire.wall_links import MadeWallLink, WallLink


@checked_methods
class WallLinkCalls:
    """Links for walls; they need a token with the role operator."""

    _session: Session

    async def wall_links(self) -> list[WallLink]:
        """List the open links that this token has made, or all of them for an admin; newest first."""
        return await self._session.request("GET", "/wall-links", list[WallLink])

    async def make_wall_link(self, name: str, *, days: int = 90) -> MadeWallLink:
        """Make a link with which a screen sees the wall, and nothing else, for 1 to 366 days.

        Its secret is returned this once. The page is at `URL/?wall=1#k=SECRET`.
        """
        body = {"name": name, "days": days}
        return await self._session.request("POST", "/wall-links", MadeWallLink, body=body)

    async def revoke_wall_link(self, link_id: str) -> WallLink:
        """Revoke a link that this token has made, as an admin any, and close what was opened with it; ClientError."""
        return await self._session.request("DELETE", f"/wall-links/{segment(link_id)}", WallLink)
