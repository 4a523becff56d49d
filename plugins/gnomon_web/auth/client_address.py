"""Where a request comes from: the peer of the connection, or the client that a trusted proxy names.

A proxy adds the address of its own peer at the right of `X-Forwarded-For` or `Forwarded` (RFC 7239), so everything left
of the rightmost address that is not a trusted proxy may have been invented by the client. Headers of other peers are
ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from gnomon_web.auth.networks import plain_address
from gnomon_web.config import Config

FORWARDED_FOR, FORWARDED_PROTO = "X-Forwarded-For", "X-Forwarded-Proto"
FORWARDING_HEADERS = (
    FORWARDED_FOR,
    str(hdrs.FORWARDED),  # not an istr, which msgspec does not write
    FORWARDED_PROTO,
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Via",
)
"""Headers that proxies add: one of them is enough to tell that a request did not come from this machine itself."""
MAX_HOPS = 50
"""Entries of a header that are read, from the right."""
_PAIR = re.compile(r"""\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)=("(?:[^"\\]|\\.)*"|[^",;\s]*)\s*(;|,|$)""")
_ADDRESS = re.compile(r"\[(?P<v6>[^\]]+)\](?::\d+)?|(?P<v4>\d+\.\d+\.\d+\.\d+)(?::\d+)?|(?P<bare>[^:\s]*:[^:\s]*:\S*)")


class Client(msgspec.Struct, frozen=True):
    """The sender of a request. `is_secure`: it sent the request over TLS, to this server or to a trusted proxy."""

    address: str
    is_secure: bool


CLIENT = web.RequestKey("client", Client)


class _Hop(msgspec.Struct, frozen=True):
    address: str | None
    scheme: str | None = None


def client_of(request: web.Request, config: Config) -> Client:
    """Return the sender of a request."""
    if (known := request.get(CLIENT)) is None:
        request[CLIENT] = known = find_client(request.remote or "", request.headers, config, is_tls=request.secure)
    return known


def find_client(peer: str, headers: CIMultiDictProxy[str], config: Config, *, is_tls: bool) -> Client:
    """Return the rightmost address that is not a trusted proxy, and whether it used TLS."""
    if not config.is_trusted_proxy(peer):
        return Client(peer, is_tls)
    chains = [chain for chain in (_x_forwarded(headers), _forwarded(headers)) if chain]
    found = [_rightmost_untrusted(peer, chain, config) for chain in chains]
    # A proxy writes one of the two headers and passes the other one on as the client sent it.
    if not found or any(hop.address != found[0].address for hop in found):
        return Client(peer, is_tls)
    scheme = next((hop.scheme for hop in found if hop.scheme is not None), None)
    return Client(found[0].address or peer, is_tls if scheme is None else scheme == "https")


def _rightmost_untrusted(peer: str, hops: Sequence[_Hop], config: Config) -> _Hop:
    nearest = _Hop(peer, hops[-1].scheme)
    for hop in reversed(hops[-MAX_HOPS:]):
        if hop.address is None:  # unreadable or hidden: nothing left of it can be trusted, nor it itself
            return nearest
        nearest = hop
        if not config.is_trusted_proxy(hop.address):
            break
    return nearest


def _x_forwarded(headers: CIMultiDictProxy[str]) -> list[_Hop]:
    addresses = _listed(headers, FORWARDED_FOR)
    schemes = _listed(headers, FORWARDED_PROTO)
    if not addresses:
        return [_Hop(None, schemes[-1].lower())] if schemes else []
    if len(schemes) != len(addresses):  # the proxy that the client connected to has set it, or the nearest one
        schemes = schemes[-1:] * len(addresses) if schemes else []
    return [_Hop(_address(text), schemes[number].lower() if schemes else None) for number, text in enumerate(addresses)]


def _forwarded(headers: CIMultiDictProxy[str]) -> list[_Hop]:
    """Parse `Forwarded: for=192.0.2.60;proto=https, for="[2001:db8::1]:4711"`; empty where it is not valid."""
    hops = []
    for line in headers.getall(hdrs.FORWARDED, ()):
        pairs: dict[str, str] = {}
        position = 0
        while position < len(line):
            if (found := _PAIR.match(line, position)) is None:
                return [_Hop(None)]
            name, value, end = found.groups()
            pairs[name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
            position = found.end()
            if end != ";":
                hops.append(_Hop(_address(pairs.get("for", "")), pairs.get("proto", "").lower() or None))
                pairs = {}
    return hops


def _listed(headers: CIMultiDictProxy[str], name: str) -> list[str]:
    """Return the entries of a header, which may stand on several lines."""
    return [entry.strip() for line in headers.getall(name, ()) for entry in line.split(",") if entry.strip()]


def _address(text: str) -> str | None:
    """Return an address without its port, in its normal form; None for a name such as `unknown` or `_hidden`."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    try:
        return str(plain_address(found["v6"] or found["v4"] or found["bare"]))
    except ValueError:
        return None
