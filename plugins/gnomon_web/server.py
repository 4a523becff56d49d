"""Builds the application from the route table, and serves it."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from gnomon import GnomonError, Kernel
from gnomon_web import (
    dashboard,
    docs_page,
    executions,
    health,
    history,
    jobs,
    live,
    login,
    metrics,
    openapi,
    statistics,
)
from gnomon_web.auth import Authenticator
from gnomon_web.config import Config
from gnomon_web.contributions import add_contributions
from gnomon_web.endpoint import endpoint
from gnomon_web.guard import add_headers, guard
from gnomon_web.keys import AUTHENTICATOR, CONFIG, KERNEL
from gnomon_web.latest import LATEST
from gnomon_web.live.hub import HUB
from gnomon_web.metrics import METRICS
from gnomon_web.middlewares import access_log, problems
from gnomon_web.openapi import DOCUMENT, describe
from gnomon_web.protocol import Runner
from gnomon_web.routes import RouteTable
from gnomon_web.statistics import TODAY, TODAY_PATH
from gnomon_web.views import Views

SHUTDOWN_LIMIT = 3.0
"""Seconds that a stopping server waits for answers that are being made."""
PARTS = (jobs, executions, history, statistics, health, metrics, login, openapi, docs_page, live, dashboard)
"""Every module with `routes()`, in the order of the OpenAPI document."""


def build_routes(kernel: Kernel) -> RouteTable:
    """Collect all routes: our own, and those that other plugins contribute."""
    table = RouteTable()
    for part in PARTS:
        for route in part.routes():
            table.add(route)
    add_contributions(kernel, table)
    return table


def build_app(config: Config, kernel: Kernel, views: Views) -> web.Application:
    """Build the application."""
    app = web.Application(middlewares=[access_log, problems, guard], client_max_size=config.body_limit)
    app[CONFIG] = config
    app[KERNEL] = kernel
    app[HUB] = views.hub
    app[LATEST] = views.latest
    app[METRICS] = views.metrics
    app[AUTHENTICATOR] = Authenticator(config, kernel.clock)
    table = build_routes(kernel)
    app[TODAY] = table.handler("GET", TODAY_PATH)
    app[DOCUMENT] = msgspec.json.encode(describe(table, config))
    for route, signature in table:
        resource = app.router.add_resource(config.base_path + route.path)
        answer = endpoint(route, signature)
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            resource.add_route(method, answer)
    app.on_response_prepare.append(add_headers)
    return app


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[int]:
    """Serve an application for as long as the block lasts, on the port that is given to it."""
    config = app[CONFIG]
    runner = Runner(app, config, SHUTDOWN_LIMIT)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port, ssl_context=_tls(config))
        try:
            await site.start()
        except OSError as exc:
            raise GnomonError(_why_it_cannot_listen(config, exc)) from exc
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _why_it_cannot_listen(config: Config, exc: OSError) -> str:
    # asyncio puts its own words around those of the system, and the address a second time.
    what = os.strerror(exc.errno).lower() if exc.errno and exc.errno > 0 else str(exc.strerror or exc)
    where = f"cannot listen on {config.host} port {config.port}: {what}"
    if exc.errno == errno.EADDRINUSE:
        return f"{where}; another process has it, which `ss -ltnp` names: stop that one, or take another `port`"
    return where


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except ssl.SSLError as exc:  # is an OSError
        key = config.tls_key or config.tls_cert
        raise GnomonError(
            f"the certificate {config.tls_cert} with the key {key} cannot be used: {exc.reason or exc}; "
            "expected both as PEM, and the key to be the certificate's"
        ) from exc
    except OSError as exc:
        files = " with the key ".join(str(file) for file in (config.tls_cert, config.tls_key) if file is not None)
        raise GnomonError(f"the certificate {files} cannot be used: {exc.strerror}") from exc
    return context
