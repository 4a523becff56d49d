"""The client of an OpenID Connect provider: authorization code with PKCE, and the checks of the ID token.

Authlib has the parts of the protocol, joserfc the signatures, aiohttp the transport. What a provider sends is untrusted
until its signature is checked: answers are bounded in size and time, and redirects are not followed.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gnomon import Clock
from gnomon_web.auth.networks import is_loopback
from gnomon_web.auth.oidc_config import Oidc, ProviderError, RefusedError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
"""Only signatures with a private key. With HS256, anyone could sign with the provider's public key."""
LEEWAY_S = 60
"""How far the clocks of the provider and of this machine may differ."""
REQUEST_LIMIT_S = 5.0
MAX_ANSWER_BYTES = 1024 * 1024
METADATA_AGE_S = 3600.0
KEYS_REST_S = 10.0
"""Keys are fetched again for an unknown signature, but not more often than this."""


T = TypeVar("T")


class Metadata(msgspec.Struct, frozen=True):
    """The part of a provider's discovery document that is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class TokenAnswer(msgspec.Struct, frozen=True):
    """The answer of the token endpoint, or its error."""

    id_token: str = ""
    access_token: str = ""
    error: str = ""
    error_description: str = ""


class OidcClient:
    """Logs in users of one provider. Its discovery document and its keys are fetched when they are needed."""

    def __init__(self, config: Oidc, clock: Clock) -> None:
        self.config = config
        self._clock = clock
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def authorization_url(self, redirect_uri: str, *, state: str, nonce: str, verifier: str) -> str:
        """Return the page of the provider on which a user logs in; ProviderError."""
        metadata = await self._discover()
        return str(
            prepare_grant_uri(
                metadata.authorization_endpoint,
                self.config.client_id,
                "code",
                redirect_uri,
                self.config.scopes,
                state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    async def claims(self, code: str, redirect_uri: str, *, nonce: str, verifier: str) -> dict[str, Any]:
        """Exchange a code and return the claims of its ID token, which has been checked; ProviderError, RefusedError.

        A claim about roles that the ID token lacks is read from the endpoint for user information.
        """
        metadata = await self._discover()
        answer = await self._exchange(metadata, code, redirect_uri, verifier)
        claims = await self._verified(metadata, answer, nonce)
        if not self.config.values_of(claims) and metadata.userinfo_endpoint and answer.access_token:
            bearer = {"Authorization": f"Bearer {answer.access_token}"}
            _, user = await self._fetch("GET", metadata.userinfo_endpoint, dict[str, Any], headers=bearer)
            if user.get("sub") != claims["sub"]:
                raise RefusedError("the user information of the provider is about another user than its token")
            claims = {**user, **claims}
        return claims

    async def _exchange(self, metadata: Metadata, code: str, redirect_uri: str, verifier: str) -> TokenAnswer:
        client_id, secret = self.config.client_id, self.config.client_secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        if secret is not None and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            pair = f"{quote(client_id, safe='')}:{quote(secret.reveal(), safe='')}"  # RFC 6749, 2.3.1
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client_id} | ({"client_secret": secret.reveal()} if secret is not None else {})
        status, answer = await self._fetch("POST", metadata.token_endpoint, TokenAnswer, data=form, headers=headers)
        if answer.error or status >= 400:
            raise RefusedError(f"the provider refused the login: {answer.error_description or answer.error or status}")
        return answer

    async def _verified(self, metadata: Metadata, answer: TokenAnswer, nonce: str) -> dict[str, Any]:
        token = await self._signed(metadata, answer.id_token)
        options = {
            "iss": {"essential": True, "value": self.config.issuer},
            "aud": {"essential": True, "value": self.config.client_id},
        }
        params = {"nonce": nonce, "client_id": self.config.client_id, "access_token": answer.access_token}
        claims = CodeIDToken(token.claims, token.header, options, params)
        now = int(self._clock.now().timestamp())
        try:
            claims.validate(now=now, leeway=LEEWAY_S)
        except (JoseError, TypeError, ValueError) as exc:
            raise RefusedError(f"the provider's token does not hold: {exc}") from exc
        if not isinstance(claims["sub"], str) or claims["iat"] > now + LEEWAY_S:
            raise RefusedError("the provider's token does not hold: its subject or its time is not valid")
        return dict(claims)

    async def _signed(self, metadata: Metadata, token: str) -> jwt.Token:
        """Return a token whose signature is right; keys are fetched again once, because providers rotate them."""
        fetched = await self._fetch_keys(metadata, is_new=False)
        try:
            return jwt.decode(token, fetched, algorithms=ALGORITHMS)
        except (JoseError, ValueError, TypeError):
            fetched = await self._fetch_keys(metadata, is_new=True)
        try:
            return jwt.decode(token, fetched, algorithms=ALGORITHMS)
        except (JoseError, ValueError, TypeError) as exc:
            raise RefusedError(f"the provider's token is not signed by the provider: {exc}") from exc

    async def _fetch_keys(self, metadata: Metadata, *, is_new: bool) -> KeySet:
        now = self._clock.monotonic()
        if self._keys is not None and (not is_new or now - self._keys[0] < KEYS_REST_S):
            return self._keys[1]
        _, found = await self._fetch("GET", metadata.jwks_uri, dict[str, Any])
        # Symmetric keys have no place in a public document, and keys of new kinds are for others.
        usable = [
            key for key in found.get("keys", []) if isinstance(key, dict) and key.get("kty") in {"RSA", "EC", "OKP"}
        ]
        try:
            keys = KeySet.import_key_set({"keys": usable})
        except (JoseError, ValueError, TypeError, KeyError) as exc:
            raise ProviderError(f"the keys at {metadata.jwks_uri} cannot be read: {exc}") from exc
        self._keys = (now, keys)
        return keys

    async def _discover(self) -> Metadata:
        now = self._clock.monotonic()
        if self._metadata is not None and now - self._metadata[0] < METADATA_AGE_S:
            return self._metadata[1]
        url = f"{self.config.issuer.rstrip('/')}/.well-known/openid-configuration"
        _, metadata = await self._fetch("GET", url, Metadata)
        if metadata.issuer != self.config.issuer:
            raise ProviderError(f"{url} is of the issuer {metadata.issuer!r}, expected {self.config.issuer!r}")
        for endpoint in (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri):
            parts = urlsplit(endpoint)
            if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
                raise ProviderError(f"{url} names {endpoint!r}, which does not begin with https://")
        self._metadata = (now, metadata)
        return metadata

    async def _fetch(self, method: str, url: str, into: type[T], **options: Any) -> tuple[int, T]:
        headers: Mapping[str, str] = {"Accept": "application/json", **options.pop("headers", {})}
        try:
            async with (
                asyncio.timeout(REQUEST_LIMIT_S),
                aiohttp.ClientSession(trust_env=True) as session,
                session.request(method, url, headers=headers, allow_redirects=False, **options) as response,
            ):
                body = await _bounded(response)
                if response.status >= 500 or (response.status >= 300 and method == "GET"):
                    raise ProviderError(f"{url} answered with the status {response.status}")
                return response.status, msgspec.json.decode(body, type=into)
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise ProviderError(f"{url} cannot be reached: {str(exc) or 'it did not answer in time'}") from exc
        except (msgspec.MsgspecError, ValueError) as exc:
            raise ProviderError(f"{url} did not answer as OpenID Connect requires: {exc}") from exc


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ValueError(f"more than {MAX_ANSWER_BYTES} bytes")
    return body
