"""A provider of OpenID Connect for tests: a real server with its own keys, which misbehaves on request."""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "gnomon client", "s3cret: of the client"


class Provider:
    """Serves discovery, the login page, the token endpoint, its keys and user information.

    `user` has the claims of the user. `spoil` changes the claims of the next ID tokens, and `forge` the token.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.key = _key(1, "one")
        self.user: dict[str, Any] = {"sub": "4711", "preferred_username": "anna", "groups": ["dev", "ops"]}
        self.userinfo: dict[str, Any] = {}
        self.spoil: Callable[[dict[str, Any]], None] = lambda claims: None
        self.forge: Callable[[dict[str, Any]], str] | None = None
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.is_broken = False
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self.discovery)
        app.router.add_get("/authorize", self.authorize)
        app.router.add_post("/token", self.token)
        app.router.add_get("/jwks", self.jwks)
        app.router.add_get("/userinfo", self.user_information)
        self.server = TestServer(app)

    @property
    def issuer(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    def rotate(self, kid: str) -> None:
        """Replace the key, as providers do; tokens are signed with the new one from now on."""
        self.key = _key(2, kid)

    def sign(self, claims: dict[str, Any], key: RSAKey | None = None) -> str:
        used = key or self.key
        return jwt.encode({"alg": "RS256", "kid": str(used.kid)}, claims, used)

    def sign_with_public_key(self, claims: dict[str, Any]) -> str:
        """Sign with HS256, and the public key as its secret: the classic confusion of algorithms."""
        signed = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(claims)}"
        signature = hmac.digest(self.key.as_pem(private=False), signed.encode(), "sha256")
        return f"{signed}.{_base64(signature)}"

    @staticmethod
    def unsigned(claims: dict[str, Any]) -> str:
        return f"{_part({'alg': 'none'})}.{_part(claims)}."

    async def discovery(self, request: web.Request) -> web.Response:
        self.asked.append("discovery")
        if self.is_broken:
            return web.Response(status=503)
        endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        document = {name: f"{self.issuer}/{path}" for name, path in endpoints.items()}
        document |= {"userinfo_endpoint": f"{self.issuer}/userinfo"} if self.userinfo else {}
        return web.json_response({"issuer": self.issuer, **document})

    async def authorize(self, request: web.Request) -> web.Response:
        """Log the user in at once, and send the browser back with a code."""
        assert request.query["response_type"] == "code"
        assert request.query["client_id"] == CLIENT_ID
        assert request.query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.codes[code] = dict(request.query)
        back = request.query["redirect_uri"] + f"?code={code}&state={request.query['state']}&session_state=x"
        return web.Response(status=302, headers={"Location": back})

    async def token(self, request: web.Request) -> web.Response:
        self.asked.append("token")
        form = await request.post()
        expected = "gnomon%20client:s3cret%3A%20of%20the%20client"
        if b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode() != expected:
            return web.json_response({"error": "invalid_client"}, status=401)
        begun = self.codes.pop(str(form["code"]), None)
        challenge = _base64(hashlib.sha256(str(form["code_verifier"]).encode()).digest())
        if begun is None or begun["code_challenge"] != challenge or begun["redirect_uri"] != form["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(self.now())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": begun["nonce"]}
        claims |= self.user
        self.spoil(claims)
        signed = self.forge(claims) if self.forge else self.sign(claims)
        return web.json_response({"id_token": signed, "access_token": "access", "token_type": "Bearer"})

    async def jwks(self, request: web.Request) -> web.Response:
        self.asked.append("jwks")
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def user_information(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer access"
        return web.json_response(self.userinfo)


def _part(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@functools.cache
def _key(number: int, kid: str) -> RSAKey:
    """Make a key once: that takes a second where the machine is busy."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})
