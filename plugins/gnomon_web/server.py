"""Builds the web application from the route table, and serves it."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from gnomon import GnomonError, KernelApi
from gnomon_web import dashboard, dialect, live
from gnomon_web.app_keys import AUTHENTICATOR, CONFIG, CONTRIBUTED, KERNEL, OPEN_WEBSOCKETS
from gnomon_web.auth.access_log import AccessLog
from gnomon_web.auth.authenticator import Authenticator
from gnomon_web.auth.browser_security import add_headers, check_origin
from gnomon_web.auth.session_key import read_session_key
from gnomon_web.auth.sessions import Sessions
from gnomon_web.auth.shared_claims import SharedClaims
from gnomon_web.auth.tickets import TICKETS, Tickets
from gnomon_web.config import Config
from gnomon_web.dashboard.pages import show_missing
from gnomon_web.http import docs_page, openapi
from gnomon_web.http.connections import Connections, Limits
from gnomon_web.http.contributed_calls import callable_by_others
from gnomon_web.http.contributions import add_contributions
from gnomon_web.http.dialect import CLEAN, DIALECT, Dialect
from gnomon_web.http.endpoint import endpoint
from gnomon_web.http.listener import listening
from gnomon_web.http.malformed_requests import ProblemAppRunner
from gnomon_web.http.middlewares import answer_errors, log_access, note_request, note_response
from gnomon_web.http.openapi import DOCUMENT, describe
from gnomon_web.http.read_shares import READ_SHARES, ReadShares
from gnomon_web.http.routes import RouteTable
from gnomon_web.live import past
from gnomon_web.live.connections import LIVE_CONNECTIONS
from gnomon_web.projections import Projections
from gnomon_web.resources import (
    badges,
    executions,
    explanations,
    health,
    history,
    job_orders,
    job_states,
    jobs,
    kernels,
    metrics,
    operators,
    query_suggestions,
    retries,
    run_log,
    run_orders,
    sessions,
    single_sign_on,
    statistics,
    tickets,
    wall_links,
    workers,
)
from gnomon_web.resources.etas import PAST_RUNS, PastRuns
from gnomon_web.resources.kept_logs import KEPT_LOGS, KeptLogs
from gnomon_web.resources.last_executions import LAST_EXECUTIONS
from gnomon_web.resources.metrics import METRICS
from gnomon_web.resources.single_sign_on import SINGLE_SIGN_ON, SingleSignOn
from gnomon_web.resources.statistics import TODAY, TODAY_PATH

SHUTDOWN_LIMIT_S = 3.0
"""Seconds that a stopping server waits for answers in progress."""
MODULES = (
    jobs,
    job_states,
    job_orders,
    operators,
    retries,
    executions,
    query_suggestions,
    explanations,
    run_log,
    run_orders,
    history,
    past,
    statistics,
    health,
    kernels,
    workers,
    metrics,
    sessions,
    wall_links,
    single_sign_on,
    tickets,
    openapi,
    docs_page,
    live,
    badges,
    dashboard,
)
"""Every module with `routes()`, in the order of the OpenAPI document."""


def build_routes(kernel: KernelApi, spoken: Dialect = CLEAN) -> RouteTable:
    """Collect all routes: our own, those of the dialect, and those that other plugins contribute."""
    table = RouteTable()
    for part in (*MODULES, spoken):
        for route in part.routes():
            table.add(route)
    add_contributions(kernel, table)
    return table


def build_app(
    config: Config, kernel: KernelApi, projections: Projections, sessions: Sessions | None = None
) -> web.Application:
    """Build the application. Without `sessions` it has none that an earlier server has opened."""
    table = build_routes(kernel, dialect.choose(config))
    app = new_app(config, table, config.base_path)
    equip(app, config, kernel, table, projections, sessions)
    return app


def new_app(config: Config, table: RouteTable, base_path: str = "", more: Sequence[Middleware] = ()) -> web.Application:
    """Return an application with all routes, which cannot answer before it is equipped.

    The middlewares `more` are called within those that log requests and answer errors.
    """
    middlewares = [note_request, log_access, answer_errors, show_missing, *more, check_origin]
    app = web.Application(middlewares=middlewares, client_max_size=config.body_limit)
    for route, signature in table:
        resource = app.router.add_resource(base_path + route.path)
        answer = endpoint(route, signature, table.replaced_by(route))
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            resource.add_route(method, answer)
    app.on_response_prepare.append(note_response)
    app.on_response_prepare.append(add_headers)
    return app


def equip(
    app: web.Application,
    config: Config,
    kernel: KernelApi,
    table: RouteTable,
    projections: Projections,
    sessions: Sessions | None,
) -> None:
    """Set what the handlers of an application need, before it is frozen."""
    app[CONFIG] = config
    app[KERNEL] = kernel
    app[CONTRIBUTED] = sorted({route.tag for route, _ in table if route.plugin is not None})
    app[LIVE_CONNECTIONS] = projections.live
    app[OPEN_WEBSOCKETS] = lambda: projections.live.count
    app[LAST_EXECUTIONS] = projections.last_executions
    app[PAST_RUNS] = PastRuns(kernel)
    app[METRICS] = projections.metrics
    app[READ_SHARES] = ReadShares()
    app[KEPT_LOGS] = KeptLogs()
    claims = SharedClaims(kernel)
    app[SINGLE_SIGN_ON] = SingleSignOn(claims)
    opened = sessions or Sessions(kernel, read_session_key(None))
    authenticator = app[AUTHENTICATOR] = Authenticator(config, claims, opened, AccessLog(kernel))
    app[TICKETS] = Tickets(claims, authenticator)
    app[DIALECT] = dialect.choose(config)
    app[TODAY] = callable_by_others(table.route("GET", TODAY_PATH), config.timeout.total_seconds())
    app[DOCUMENT] = msgspec.json.encode(
        describe(table, config, authenticator.cookie_name(is_secure=config.is_public_secure))
    )


class PortInUseError(GnomonError):
    """Another process listens on the port."""


Listen = Callable[[], AbstractAsyncContextManager[int]]


@asynccontextmanager
async def ready_to_serve(app: web.Application, limits: Limits) -> AsyncIterator[Listen]:
    """Serve an application, within limits of connections; yields what listens for the duration of its block.

    That yields the port, and raises PortInUseError where another process uses it.
    """
    config = app[CONFIG]
    connections = Connections(config, limits)
    runner = ProblemAppRunner(app, config, connections, SHUTDOWN_LIMIT_S)
    await runner.setup()
    try:
        yield partial(_listening, config, connections, runner)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _listening(config: Config, connections: Connections, runner: ProblemAppRunner) -> AsyncIterator[int]:
    async with AsyncExitStack() as stack:
        try:
            port = await stack.enter_async_context(listening(config, connections, runner.protocol, _tls(config)))
        except OSError as exc:
            kind = PortInUseError if exc.errno == errno.EADDRINUSE else GnomonError
            raise kind(_listen_error(config, exc)) from exc
        yield port


def _listen_error(config: Config, exc: OSError) -> str:
    # asyncio wraps the system's message in its own words and repeats the address.
    reason = os.strerror(exc.errno).lower() if exc.errno and exc.errno > 0 else str(exc.strerror or exc)
    message = f"cannot listen on {config.host} port {config.port}: {reason}"
    if exc.errno == errno.EADDRINUSE:
        return f"{message}; stop the process that uses it (`ss -ltnp` shows it), or set another `port`"
    return message


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except ssl.SSLError as exc:  # is an OSError
        key = config.tls_key or config.tls_cert
        raise GnomonError(
            f"cannot use the certificate {config.tls_cert} with the key {key}: {exc.reason or exc}; "
            "expected both in PEM format, and the key of this certificate"
        ) from exc
    except OSError as exc:
        files = " with the key ".join(str(file) for file in (config.tls_cert, config.tls_key) if file is not None)
        raise GnomonError(f"cannot use the certificate {files}: {exc.strerror}") from exc
    return context
