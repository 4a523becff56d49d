"""What handlers find in the application and in a request, by typed key."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from gnomon import KernelApi
from gnomon.text import shorten, visible
from gnomon.wire.caller import Caller
from gnomon.wire.problems import OUTSIDE_OF_SCOPE, ProblemKind
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
CONTRIBUTED: web.AppKey[list[str]] = web.AppKey("contributed")
"""The tags of the calls that other plugins contribute."""

IDENTITY = web.RequestKey("identity", Identity)
"""The identity that a request is made with. The endpoint sets it before it calls a handler."""
PAST: web.RequestKey[KernelApi] = web.RequestKey("past")
"""The kernel of the moment that a request is about, where it names one."""
RELEASE: web.RequestKey[Callable[[], None]] = web.RequestKey("release")
"""Releases what is held for the answer; called once it has been sent."""
RESPONSE = web.RequestKey("response", web.StreamResponse)
"""The response whose headers are being sent. From then on no other one can be sent for the request."""


SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
"""Methods of requests that change nothing."""
MAX_ID: Final = 128
"""Characters of the id of a job or an execution in the record of a refusal."""


def note_refusal(request: web.Request, kind: ProblemKind, subject: str = "") -> None:
    """Record that a request was refused, where the kind of its problem is a refusal.

    `subject` is the id of the job or the execution that it was about.
    """
    if kind.name in REASONS:
        resource = request.match_info.route.resource
        call = f"{request.method} {resource.canonical if resource is not None else 'an unknown path'}"
        if subject:
            call += f" of {shorten(visible(subject), MAX_ID)}"
        address = client_of(request, request.app[CONFIG]).address
        request.app[AUTHENTICATOR].access_log.refused(kind.name, actor_of(request), address, call)


def note_denied_act(request: web.Request, subject: str) -> None:
    """Record an act on a job or an execution outside of the sender's scope.

    The sender gets a 404, as for one that does not exist; in the history, which does not show it this entry, it is
    `outside-of-scope` in both cases.
    """
    if request.method not in SAFE_METHODS:
        note_refusal(request, OUTSIDE_OF_SCOPE, subject)


def is_secure(request: web.Request) -> bool:
    """Whether the browser of a request uses TLS, as far as this server can know."""
    config = request.app[CONFIG]
    return config.is_public_secure or client_of(request, config).is_secure


def kernel_of(request: web.Request) -> KernelApi:
    """Return the kernel as the sender of a request may see it: with all jobs, or with those of a limited token.

    Where the request asks about the past, it is the kernel of then.
    """
    return _as_seen(request, request.get(PAST, request.app[KERNEL]))


def present_kernel_of(request: web.Request) -> KernelApi:
    """Return the kernel of now as the sender of a request may see it, also where the request is about the past."""
    return _as_seen(request, request.app[KERNEL])


def _as_seen(request: web.Request, kernel: KernelApi) -> KernelApi:
    scope = request.get(IDENTITY, NOBODY).scope
    return kernel if scope is None else ScopedKernel(kernel, scope, partial(note_denied_act, request))


def actor_of(request: web.Request) -> str:
    """Return the name that the log gives as actor; `nobody` while the request is not authenticated."""
    identity: Identity = request.get(IDENTITY, NOBODY)
    return identity.name


def caller_of(request: web.Request) -> Caller:
    """Return the sender of a request, for handlers of plugins."""
    kernel = kernel_of(request)

    async def sees(job_id: str) -> bool:
        return not isinstance(kernel, ScopedKernel) or (job_id != "" and await kernel.has(job_id))

    return Caller(actor_of(request), kernel, sees)
