"""The section [plugins.web] and its validation, before anything listens."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Literal

import msgspec

from gnomon.durations import Duration
from gnomon_web.auth.tokens import Token

_BASE_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_ORIGIN = re.compile(r"https?://[^/?#\s]+")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The address to listen on, and who may access it.

    `port` 0 selects a free one. `base_path` is the prefix of every path. `dialect` selects the API of another scheduler
    (see `gnomon_web.dialect`). `envelope` wraps answers; unless it is set, they are wrapped where the dialect has
    envelopes. `session` is the duration of a login, `failed_logins` the number of wrong tokens that an address may send
    in a minute, `timeout` the limit for an answer. `body_limit` is in bytes. `max_connections` is the number of
    WebSockets.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    base_path: str = ""
    envelope: bool | None = None
    dialect: Literal["tradingagents"] | None = None
    tokens: list[Token] = []
    allowed_hosts: list[str] = []
    allowed_origins: list[str] = []
    tls_cert: Path | None = None
    tls_key: Path | None = None
    session: Duration = Duration(hours=12)
    failed_logins: int = 10
    timeout: Duration = Duration(seconds=20)
    body_limit: int = 1024 * 1024
    max_connections: int = 500

    def __post_init__(self) -> None:
        """Refuse values that are not valid, and a server that would be open to the world."""
        if not self.tokens and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is reachable from other machines, and there are no tokens: add "
                "[[plugins.web.tokens]] with name, role and token, or listen on 127.0.0.1"
            )
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, got {self.port}")
        if not _BASE_PATH.fullmatch(self.base_path):
            raise ValueError(
                f"base_path must be empty or like /api, without a slash at its end; got {self.base_path!r}"
            )
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("tls_key requires tls_cert, the file with the certificate")
        counts = (self.failed_logins, self.body_limit, self.max_connections)
        if min(self.session, self.timeout) <= Duration(0) or min(counts) < 1:
            raise ValueError("session, timeout, failed_logins, body_limit and max_connections must be greater than 0")
        if len(names := [token.name for token in self.tokens]) > len(set(names)):
            raise ValueError(f"token names must be unique, got {', '.join(sorted(names))}")
        if wrong := [origin for origin in self.allowed_origins if not _ORIGIN.fullmatch(origin)]:
            raise ValueError(f"allowed_origins must be like https://gnomon.example:8443, got {', '.join(wrong)}")

    @property
    def is_enveloped(self) -> bool:
        """Whether answers are wrapped in envelopes."""
        return self.dialect is not None if self.envelope is None else self.envelope

    @property
    def cookie_name(self) -> str:
        """The name of the login cookie. Browsers accept a `__Host-` cookie only from the host itself."""
        # Cookies ignore ports: without its port in the name, two servers on one host would end each other's logins.
        return f"{'__Host-' if self.scheme == 'https' else ''}gnomon-{self.port}"

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "http" if self.tls_cert is None else "https"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
