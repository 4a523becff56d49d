"""IP addresses and networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IPV6_PREFIX = 64
"""Bits of the smallest IPv6 network that a provider assigns: one client can use every address in it."""


def plain_address(text: str) -> Address:
    """Parse an address; an IPv4 address in IPv6 (`::ffff:192.0.2.1`) is that IPv4 address. ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def bucket_of(address: str) -> str:
    """Return what one client counts as: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        plain = plain_address(address)
    except ValueError:  # a Unix socket has no address
        return address
    return str(plain) if plain.version == 4 else str(ipaddress.ip_network((plain, IPV6_PREFIX), strict=False))


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parse networks and addresses; ValueError names the one that is not valid."""
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text, strict=False))
        except ValueError as exc:
            raise ValueError(
                f"expected addresses or networks such as 10.0.0.1 or 10.0.0.0/8, got {text!r}: {exc}"
            ) from exc
    return tuple(networks)


def is_in(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address belongs to one of the networks; false for a text that is not an address."""
    try:
        plain = plain_address(address)
    except ValueError:
        return False
    return any(plain in network for network in networks)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
