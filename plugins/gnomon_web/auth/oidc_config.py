"""The section [plugins.web.oidc]: the provider of single sign-on, and which of its users have which role."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gnomon.config_table import NO_SECRET, ConfigTable, OptionalSecret
from gnomon_web.auth.networks import is_loopback
from gnomon_web.auth.roles import RANK, Role

ANYBODY = "*"
INSTALL = "single sign-on requires Authlib: pip install 'gnomon[oidc]'"


class ProviderError(Exception):
    """The provider cannot be reached, or does not answer as OpenID Connect requires. The message is for people."""


class RefusedError(Exception):
    """The provider refused the login, or sent a token that does not hold. The message is for people."""


class Oidc(ConfigTable, frozen=True, forbid_unknown_fields=True):
    """A provider of OpenID Connect. `name` is the text of the button that leads to it.

    `roles` has the values of `claim` that grant each role; `*` is any user of the provider. A dot in `claim` leads into
    an object, as in `realm_access.roles`. `username` is the claim that the log gives as actor.
    """

    issuer: str
    client_id: str
    roles: dict[Role, list[str]]
    client_secret: OptionalSecret = NO_SECRET
    claim: str = "groups"
    username: str = "preferred_username"
    scopes: list[str] = msgspec.field(default_factory=lambda: ["openid", "profile", "email"])
    name: str = "single sign-on"

    def __post_init__(self) -> None:
        """Refuse a provider that could be impersonated, roles that nobody has, and a missing library."""
        try:
            importlib.import_module("authlib")
        except ImportError as exc:
            raise ValueError(INSTALL) from exc
        parts = urlsplit(self.issuer)
        if not parts.hostname or parts.query or parts.fragment or parts.scheme not in {"http", "https"}:
            raise ValueError(f"issuer must be a URL such as https://login.example/realms/main, got {self.issuer!r}")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError(f"issuer must begin with https://, because its keys are trusted: got {self.issuer!r}")
        if not any(self.roles.values()):
            raise ValueError('roles grants nothing: write for example roles = { admin = ["ops"], viewer = ["*"] }')
        if "openid" not in self.scopes:
            raise ValueError(f'scopes must contain "openid", got {", ".join(self.scopes)}')

    @property
    def fingerprint(self) -> bytes:
        """A text that changes with everything that decides who has which role: logins of another one end."""
        return msgspec.json.encode([self.issuer, self.client_id, self.claim, self.username, self.roles], order="sorted")

    def values_of(self, claims: Mapping[str, Any]) -> list[str]:
        """Return the values of the claim of a user: it may be a text or a list; empty where the user has none."""
        found: Any = claims.get(self.claim)
        if found is None:
            found = claims
            for part in self.claim.split("."):
                found = found.get(part) if isinstance(found, Mapping) else None
        if isinstance(found, str):
            return [found]
        return [value for value in found if isinstance(value, str)] if isinstance(found, list | tuple) else []

    def role_of(self, values: list[str]) -> Role | None:
        """Return the highest role that a user with these values has, or None."""
        granted = [role for role, names in self.roles.items() if ANYBODY in names or set(names) & set(values)]
        return max(granted, key=RANK.__getitem__, default=None)

    def name_of(self, claims: Mapping[str, Any]) -> str:
        """Return the name of a user: the claim `username`, else the subject, which every provider gives."""
        found = claims.get(self.username)
        return found if isinstance(found, str) and found.strip() else str(claims["sub"])
