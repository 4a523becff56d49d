"""The section [plugins.web], and what is refused in it before anything listens."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import msgspec

from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon_web.roles import Role

SHORTEST_TOKEN = 16
"""Characters. Who guesses may do so for years: 16 random ones of base64 are 96 bits."""
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_BASE_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_ORIGIN = re.compile(r"https?://[^/?#\s]+")


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may do what: exactly one of `token` and `hash`, which is `sha256:` and the hex digest of the token."""

    name: str
    role: Role
    token: Secret | None = None
    hash: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would let nobody in, or everybody."""
        if (self.token is None) == (self.hash is None):
            raise ValueError(f"token {self.name!r} needs one of `token` and `hash`")
        if self.token is not None and len(self.token.reveal()) < SHORTEST_TOKEN:
            raise ValueError(
                f"token {self.name!r} is shorter than {SHORTEST_TOKEN} characters and can be guessed; make one with: "
                "python3 -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        if self.hash is not None and not _HASH.fullmatch(self.hash):
            raise ValueError(f"the hash of token {self.name!r} is not `sha256:` and 64 hex digits in small letters")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to listen, and who may come in.

    `port` 0 takes a free one. `base_path` stands before every path. `session` is how long a login lasts;
    `failed_logins` how many wrong tokens an address may send in a minute, `timeout` how long an answer may take.
    `body_limit` is in bytes. `max_connections` counts WebSockets.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    base_path: str = ""
    envelope: bool = False
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
        """Refuse what makes no sense, and a server that would be open to the world."""
        if not self.tokens and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} can be reached from other machines, and there are no tokens: add "
                "[[plugins.web.tokens]] with name, role and token, or listen on 127.0.0.1"
            )
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, got {self.port}")
        if not _BASE_PATH.fullmatch(self.base_path):
            raise ValueError(
                f"base_path must be empty or like /api, without a slash at its end; got {self.base_path!r}"
            )
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("tls_key needs tls_cert, the file of the certificate")
        counts = (self.failed_logins, self.body_limit, self.max_connections)
        if min(self.session, self.timeout) <= Duration(0) or min(counts) < 1:
            raise ValueError("session, timeout, failed_logins, body_limit and max_connections must be more than 0")
        if len(names := [token.name for token in self.tokens]) > len(set(names)):
            raise ValueError(f"two tokens have one name: {', '.join(sorted(names))}")
        if wrong := [origin for origin in self.allowed_origins if not _ORIGIN.fullmatch(origin)]:
            raise ValueError(f"allowed_origins are like https://gnomon.example:8443, got {', '.join(wrong)}")

    @property
    def cookie_name(self) -> str:
        """How the cookie of a login is called; a `__Host-` one is refused by browsers if another host has set it."""
        # Cookies do not know ports: two servers on one host would end each other's logins.
        return f"{'__Host-' if self.scheme == 'https' else ''}gnomon-{self.port}"

    @property
    def scheme(self) -> str:
        """What its addresses begin with."""
        return "http" if self.tls_cert is None else "https"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
