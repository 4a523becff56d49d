"""A FastAPI application with a kernel in its lifespan, as each worker of gunicorn or uvicorn makes it.

The log is the SQLite file $SHARED_LOG. Each order of a client has an id, which the log keeps as its actor.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from gnomon import GnomonError, Kernel, job
from gnomon.errors import ExecutionOverError, JobExistsError, UnknownExecutionError, UnknownJobError
from gnomon_sqlite import SqliteStore
from gnomon_web import AsgiProxy, Config, Token, WebPlugin

TOKEN = "q7Rk-Zt2M-x9Lw-of-the-operator"
EVERY = timedelta(milliseconds=200)
REFUSALS = (ExecutionOverError, JobExistsError, UnknownExecutionError, UnknownJobError)


@job(id="tick", every=EVERY)
async def tick() -> None:
    """Return at once."""


@job(id="work", every=EVERY, overlap="allow", catch_up="all")
def work() -> int:
    """Compute in a thread."""
    return sum(range(1_000))


@job(id="manual", overlap="allow")
async def manual(seconds: float = 0) -> None:
    """Run as long as it is asked to."""
    await asyncio.sleep(seconds)


def added() -> None:
    """Run once, as a job that a request has added."""


def make_app() -> FastAPI:
    """Return the application; its kernel is made with it and entered in the lifespan."""
    web = WebPlugin(
        Config(
            port=0,
            base_path="/gnomon",
            tokens=[Token("ops", "operator", TOKEN)],
            trusted_proxies=["127.0.0.1"],
        )
    )
    dashboard = AsgiProxy(web)
    store = SqliteStore(os.environ["SHARED_LOG"])
    kernel = Kernel(role="auto", store=store, jobs=[tick, work, manual], plugins=[web], drain=timedelta(seconds=1))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with kernel, dashboard:
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/gnomon", dashboard)

    @app.exception_handler(GnomonError)
    async def refuse(request: Request, exc: GnomonError) -> JSONResponse:
        return JSONResponse({"error": repr(exc)}, 409 if isinstance(exc, REFUSALS) else 503)

    @app.post("/trigger/{order}")
    async def trigger(order: str, seconds: float = 0) -> dict[str, str]:
        triggered = await kernel.trigger("manual", kwargs={"seconds": seconds}, actor=order)
        return {"run": triggered.execution.id}

    @app.post("/cancel/{order}/{run}")
    async def cancel(order: str, run: str) -> dict[str, str]:
        return {"status": (await kernel.cancel(run, actor=order)).status}

    @app.post("/add/{order}")
    async def add(order: str) -> dict[str, str]:
        at = datetime.now(UTC) + timedelta(milliseconds=300)
        return {"job": (await kernel.add_job(added, id=f"added.{order}", at=at, actor=order)).id}

    @app.get("/run/{run}")
    async def show(run: str) -> dict[str, str]:
        return {"status": (await kernel.execution(run)).status}

    @app.get("/health")
    async def health() -> dict[str, object]:
        found = kernel.health()
        return {"pid": os.getpid(), "role": getattr(found, "role", "leader"), "position": found.position}

    return app
