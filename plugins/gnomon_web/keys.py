"""What handlers find in their application and in their request, by typed keys."""

from __future__ import annotations

from aiohttp import web

from gnomon import Kernel
from gnomon_web.auth import Authenticator
from gnomon_web.config import Config
from gnomon_web.roles import NOBODY, Identity

KERNEL = web.AppKey("kernel", Kernel)
CONFIG = web.AppKey("config", Config)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)

IDENTITY = web.RequestKey("identity", Identity)
"""Who makes the request: `request[IDENTITY]`. The endpoint sets it before any handler is called."""
BEGUN = web.RequestKey("begun", web.StreamResponse)
"""The response, once its head is being sent: from there on no other can be."""


def actor_of(request: web.Request) -> str:
    """Name who makes a request, for the log; `nobody` where that is not known (yet)."""
    identity: Identity = request.get(IDENTITY, NOBODY)
    return identity.name
