"""One HTTP request and its response over aiohttp, with errors that contain no secret."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from gnomon import Context
from gnomon_chores.errors import RequestFailed, RequestTimedOut, UnexpectedStatus

ERROR_BODY_BYTES = 500
OPEN_HEADERS = {"accept", "accept-encoding", "accept-language", "cache-control", "content-type", "user-agent"}
SHORTEST_SECRET = 4  # removing shorter words would make a text unreadable


@dataclass
class Exchange:
    """A request that is ready to be sent, and what is expected of its response."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: str | None
    json: Any
    expected: list[int]
    output_limit: int

    async def run(self, ctx: Context, timeout: float) -> dict[str, Any]:
        """Send the request and return `status`, `bytes` and `body`; errors of aiohttp become ChoreErrors.

        `from None`, because a traceback shows the causes, and aiohttp's messages contain the whole URL.
        """
        try:
            async with asyncio.timeout(timeout), aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session:
                return await self._response(ctx, session)
        except TimeoutError:
            raise RequestTimedOut(self.method, self.shown_url, timeout) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            found = self.redacted(f"{str(error) or 'no details'} ({type(error).__name__})")
            raise RequestFailed(self.method, self.shown_url, found) from None

    async def _response(self, ctx: Context, session: aiohttp.ClientSession) -> dict[str, Any]:
        follows = not any(300 <= status < 400 for status in self.expected)
        async with session.request(
            self.method, self.url, headers=self.headers, data=self.body, json=self.json, allow_redirects=follows
        ) as response:
            if response.status not in self.expected:
                start = self.redacted((await response.content.read(ERROR_BODY_BYTES)).decode(errors="replace"))
                raise UnexpectedStatus(self.method, self.shown_url, response.status, self.expected, start)
            return {"status": response.status, **await self._body(ctx, response)}

    async def _body(self, ctx: Context, response: aiohttp.ClientResponse) -> dict[str, Any]:
        """Read to the end, since only a complete response is a success, and keep the first bytes."""
        kept, size = bytearray(), 0
        async for chunk in response.content.iter_any():
            kept += chunk[: max(0, self.output_limit - size)]
            size += len(chunk)
            ctx.progress(processed_items=size, total_items=response.content_length)
        return {"bytes": size, "body": kept.decode(errors="replace")}

    @property
    def shown_url(self) -> str:
        """The URL without user, password, query and fragment."""
        return str(URL(self.url).with_user(None).with_query(None).with_fragment(None))

    def redacted(self, text: str) -> str:
        """Return the text without the secrets of this request, which servers and libraries often repeat."""
        url = URL(self.url)
        secrets = [self.url, url.raw_query_string, url.query_string, url.password or "", *url.query.values()]
        for name, value in self.headers.items():
            if name.lower() not in OPEN_HEADERS:
                secrets += [value, *re.split(r"[\s=:;,]+", value)]
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text
