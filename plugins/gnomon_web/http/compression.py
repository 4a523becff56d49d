"""Compresses answers: a page of 200 executions has 150 kB, and 8 kB as gzip.

Answers of sessions are never compressed (BREACH): the size of an answer with a secret reveals it to anyone who can add
text to that answer.
"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web
from aiohttp.web_response import ContentCoding

MIN_BYTES: Final = 1024
"""Bytes of the smallest answer that is compressed: less fits into one packet anyway."""
TYPES: Final = frozenset(
    {"application/json", "application/problem+json", "application/x-ndjson", "text/csv", "text/html", "text/plain"}
)


def compress(request: web.Request, response: web.StreamResponse) -> None:
    """Compress the answer to a GET if it is worth it and the client accepts it."""
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return
    if len(response.body) < MIN_BYTES or response.content_type not in TYPES or request.method != hdrs.METH_GET:
        return
    if hdrs.CONTENT_ENCODING in response.headers:
        return
    response.headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    if accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
        response.enable_compression(ContentCoding.gzip)


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header accepts gzip; `*` stands for every coding that is not listed."""
    weights = {}
    for one in header.lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        weights[name] = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    weight = weights.get("gzip", weights.get("*", "0"))
    return bool(weight.strip("0. "))
