"""What handlers find in the application and in a request, by typed key."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from gnomon import KernelApi
from gnomon.wire.problems import ProblemKind
from gnomon_web.auth.access_log import REASONS
from gnomon_web.auth.authenticator import Authenticator
from gnomon_web.auth.client_address import client_of
from gnomon_web.auth.roles import NOBODY, Identity
from gnomon_web.auth.scoped_kernel import ScopedKernel
from gnomon_web.config import Config

KERNEL: web.AppKey[KernelApi] = web.AppKey("kernel")
CONFIG = web.AppKey("config", Config)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
OPEN_WEBSOCKETS: web.AppKey[Callable[[], int]] = web.AppKey("open_websockets")
"""Returns the number of open WebSockets."""

IDENTITY = web.RequestKey("identity", Identity)
"""The identity that a request is made with. The endpoint sets it before it calls a handler."""
RELEASE: web.RequestKey[Callable[[], None]] = web.RequestKey("release")
"""Releases what is held for the answer; called once it has been sent."""
RESPONSE = web.RequestKey("response", web.StreamResponse)
"""The response whose headers are being sent. From then on no other one can be sent for the request."""


def note_refusal(request: web.Request, kind: ProblemKind) -> None:
    """Record that a request was refused, where the kind of its problem is a refusal."""
    if kind.name in REASONS:
        resource = request.match_info.route.resource
        call = f"{request.method} {resource.canonical if resource is not None else 'an unknown path'}"
        address = client_of(request, request.app[CONFIG]).address
        request.app[AUTHENTICATOR].access_log.refused(kind.name, actor_of(request), address, call)


def is_secure(request: web.Request) -> bool:
    """Whether the browser of a request uses TLS, as far as this server can know."""
    config = request.app[CONFIG]
    return config.is_public_secure or client_of(request, config).is_secure


def kernel_of(request: web.Request) -> KernelApi:
    """Return the kernel as the sender of a request may see it: with all jobs, or with those of a limited token."""
    scope = request.get(IDENTITY, NOBODY).scope
    return request.app[KERNEL] if scope is None else ScopedKernel(request.app[KERNEL], scope)


def actor_of(request: web.Request) -> str:
    """Return the name that the log gives as actor; `nobody` while the request is not authenticated."""
    identity: Identity = request.get(IDENTITY, NOBODY)
    return identity.name
