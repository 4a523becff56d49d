"""The section [plugins.web] and its validation, before anything listens."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Literal

import msgspec

from gnomon.config_table import NO_SECRET, ConfigTable, OptionalSecret
from gnomon.durations import Duration
from gnomon_web.auth.networks import Network, is_in, is_loopback, parse_networks
from gnomon_web.auth.oidc_config import Oidc
from gnomon_web.auth.tokens import GENERATE, Token, weakness_of

_BASE_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_PUBLIC_URL = re.compile(r"(?P<origin>https?://[^/?#\s@]+)(?P<path>(?:/[^?#\s]*)?)")
_ORIGIN = re.compile(r"https?://[^/?#\s]+")

MIN_KEY_LENGTH = 32
"""Characters of `session_key`."""


class Config(ConfigTable, frozen=True, forbid_unknown_fields=True):
    """The address to listen on, and who may access it.

    `port` 0 selects a free one. `base_path` is the prefix of every path. `dialect` selects the API of another scheduler
    (see `gnomon_web.dialect`). `envelope` wraps answers; unless it is set, they are wrapped where the dialect has
    envelopes. `session` is the duration of a login, `failed_logins` the number of wrong tokens that an address may send
    in a minute, `timeout` the limit for an answer, and for a client to send a request or read an answer. A connection
    without a request is closed after `keep_alive`. `body_limit` is in bytes. `max_connections` is the number of
    WebSockets.

    `trusted_proxies` are the networks of proxies whose `X-Forwarded-For`, `X-Forwarded-Proto` and `Forwarded` are
    believed; `public_url` is the address under which browsers reach the server through them. `state_dir` is the folder
    of the key that signs logins, by default the folder of the log; processes on several machines have the same
    `session_key` in place of that file. `oidc` is a provider of single sign-on.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    base_path: str = ""
    envelope: bool | None = None
    dialect: Literal["tradingagents"] | None = None
    tokens: list[Token] = msgspec.field(default_factory=list)
    oidc: Oidc | None = None
    allowed_hosts: list[str] = msgspec.field(default_factory=list)
    allowed_origins: list[str] = msgspec.field(default_factory=list)
    trusted_proxies: list[str] = msgspec.field(default_factory=list)
    public_url: str | None = None
    state_dir: Path | None = None
    session_key: OptionalSecret = NO_SECRET
    tls_cert: Path | None = None
    tls_key: Path | None = None
    session: Duration = Duration(hours=12)
    failed_logins: int = 10
    timeout: Duration = Duration(seconds=20)
    keep_alive: Duration = Duration(minutes=1)
    body_limit: int = 1024 * 1024
    max_connections: int = 500
    public_badges: bool = False

    def __post_init__(self) -> None:
        """Refuse values that are not valid, and a server that would be open to the world."""
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, got {self.port}")
        if not _BASE_PATH.fullmatch(self.base_path):
            raise ValueError(
                f"base_path must be empty or like /api, without a slash at its end; got {self.base_path!r}"
            )
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("tls_key requires tls_cert, the file with the certificate")
        counts = (self.failed_logins, self.body_limit, self.max_connections)
        if min(self.session, self.timeout, self.keep_alive) <= Duration(0) or min(counts) < 1:
            raise ValueError(
                "session, timeout, keep_alive, failed_logins, body_limit and max_connections must be greater than 0"
            )
        if wrong := [origin for origin in self.allowed_origins if not _ORIGIN.fullmatch(origin)]:
            raise ValueError(f"allowed_origins must be like https://gnomon.example:8443, got {', '.join(wrong)}")
        self._check_session_key()
        self._check_tokens()
        self._check_proxies()
        self._check_public_url()

    def _check_session_key(self) -> None:
        key = self.session_key.reveal() if self.session_key is not None else None
        if key is not None and (len(key) < MIN_KEY_LENGTH or weakness_of(key)):
            raise ValueError(
                f"session_key must be {MIN_KEY_LENGTH} random characters or more, because who guesses it can forge "
                f"logins; {GENERATE}"
            )

    def _check_tokens(self) -> None:
        if self.is_open and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is reachable from other machines, and there are no tokens: add "
                "[[plugins.web.tokens]] with name, role and token, or listen on 127.0.0.1"
            )
        if len(names := [token.name for token in self.tokens]) > len(set(names)):
            raise ValueError(f"token names must be unique, got {', '.join(sorted(names))}")
        if len(digests := [token.digest for token in self.tokens]) > len(set(digests)):
            raise ValueError(
                "two names have the same token: the log could not show which of them acted; give each its own"
            )

    def _check_proxies(self) -> None:
        if self.is_open and (self.trusted_proxies or self.public_url):
            raise ValueError(
                "trusted_proxies and public_url make the server reachable from other machines, and there are no "
                "tokens: add [[plugins.web.tokens]] with name, role and token"
            )
        try:
            networks_of(tuple(self.trusted_proxies))
        except ValueError as exc:
            raise ValueError(f"trusted_proxies: {exc}") from exc

    def _check_public_url(self) -> None:
        if self.public_url is None:
            return
        found = _PUBLIC_URL.fullmatch(self.public_url)
        if found is None:
            raise ValueError(f"public_url must be like https://gnomon.example, got {self.public_url!r}")
        if found["path"].rstrip("/") not in {"", self.base_path}:
            raise ValueError(
                f"the path of public_url must be base_path, because proxies do not rewrite the links of pages: "
                f"got {found['path']!r} and {self.base_path!r}"
            )

    @property
    def is_enveloped(self) -> bool:
        """Whether answers are wrapped in envelopes."""
        return self.dialect is not None if self.envelope is None else self.envelope

    @property
    def is_open(self) -> bool:
        """Whether nobody can log in, so that this machine alone is served."""
        return not self.tokens and self.oidc is None

    @property
    def scheme(self) -> str:
        """The scheme that this server itself speaks: `http` or `https`."""
        return "http" if self.tls_cert is None else "https"

    @property
    def public_origin(self) -> str | None:
        """The origin of pages that were loaded from `public_url`: scheme, host and port."""
        found = _PUBLIC_URL.fullmatch(self.public_url or "")
        return found["origin"].lower() if found else None

    @property
    def public_host(self) -> str | None:
        """The host, with its port, of `public_url`."""
        return self.public_origin.partition("://")[2] if self.public_origin else None

    @property
    def is_public_secure(self) -> bool:
        """Whether browsers reach the server over TLS, of its own or of a proxy's."""
        return self.scheme == "https" or (self.public_origin or "").startswith("https://")

    @property
    def sends_in_plain_text(self) -> bool:
        """Whether tokens and logins cross a network unencrypted, as far as the config tells."""
        return not (is_loopback(self.host) or self.is_public_secure or self.trusted_proxies)

    def is_trusted_proxy(self, address: str) -> bool:
        """Whether the headers of this peer about its client are believed."""
        return bool(self.trusted_proxies) and is_in(address, networks_of(tuple(self.trusted_proxies)))


@functools.cache
def networks_of(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the parsed networks of a list in the config."""
    return parse_networks(texts)
