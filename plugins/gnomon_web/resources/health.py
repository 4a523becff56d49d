"""Liveness and readiness, for machines: the status code is the answer, and no answer reveals a secret."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from gnomon import GnomonError
from gnomon.domain.events import Hold
from gnomon.domain.kernel_health import GroupHealth, Health, KernelRole, PluginHealth
from gnomon_web.app_keys import AUTHENTICATOR, IDENTITY, KERNEL
from gnomon_web.http.routes import Answer, Route

ANSWER_LIMIT_S = 5.0
"""Seconds within which the kernel's loop must answer; otherwise it counts as blocked."""
MAX_LAG = 10_000
"""Events that a plugin may lag; beyond that it reads them from the store instead of memory."""
PARTS: Final = ("loop", "timetable", "journal", "clock", "starts")
"""Parts of the kernel that are always listed; one that is named by a problem alone comes after them."""
PARTS_OF_FOLLOWER: Final = ("loop", "leader")
VITAL: Final = frozenset({"loop", "timetable", "journal"})
"""Parts whose standstill only a restart ends."""

SchedulerState = Literal[0, 1]
ComponentState = Literal["ok", "degraded", "starting", "stopping", "failed"]
WORST_FIRST: Final[tuple[ComponentState, ...]] = ("failed", "stopping", "starting", "degraded", "ok")


class Component(msgspec.Struct, kw_only=True):
    """A part of the kernel. `problem`, and the run that it is about, are for viewers and null for all others."""

    name: str
    state: ComponentState
    problem: str | None = None
    lag: int | None = None
    execution_id: str | None = None


class GroupReport(msgspec.Struct, kw_only=True):
    """A group of jobs that share limits: the runs that take its slots, and how many jobs wait for one.

    `starts` counts those within the period of the rate; `opens_in` has the seconds for which the rate lets none start.
    """

    name: str
    limit: int | None
    rate: str | None
    running: list[str]
    waiting: int
    starts: int | None = None
    opens_in: float | None = None


class HoldReport(msgspec.Struct, kw_only=True):
    """Who holds the fires of all jobs back, since when and why."""

    since: datetime
    actor: str | None
    reason: str | None


class HealthReport(msgspec.Struct, kw_only=True):
    """The kernel's health: `ok`, `degraded` when it works but needs attention, `starting`, `stopping`, or `failed`.

    `running`: it keeps time and starts runs. `state` is the same as a number, 1 or 0, as APScheduler counts. `groups`
    are for viewers of all jobs, and empty for all others. `hold` is for viewers, while all fires are held back.

    `role` is `leader` or `follower`. A process that follows is ready while it can answer questions: `running` is true
    while another process leads, and the component `leader` is degraded where none does.
    """

    status: ComponentState
    running: bool
    state: SchedulerState
    timestamp: datetime
    components: list[Component]
    role: KernelRole | None = None
    groups: list[GroupReport] = []
    hold: HoldReport | None = None


def routes() -> list[Route]:
    """Return the routes of this module."""
    base: dict[str, Any] = {"method": "GET", "role": "public", "tag": "health", "also": (503,)}
    return [
        Route(path="/livez", handler=livez, **base),
        Route(path="/readyz", handler=readyz, **base),
        Route(path="/scheduler/health", handler=readyz, **base),
    ]


async def livez(request: web.Request) -> Answer[HealthReport]:
    """Return 200 while the process works: its parts make progress and it owns the log. On 503, restart it."""
    kernel, health = await _kernel(request), request.app[KERNEL].health()
    return _answer(request, [kernel, *(part for part in parts_of(health) if part.name in VITAL)])


async def readyz(request: web.Request) -> Answer[HealthReport]:
    """Return 200 while the kernel is ready: it has started, does not stop, and can write to its store."""
    kernel, health = await _kernel(request), request.app[KERNEL].health()
    components = [kernel, *parts_of(health), await _store(request, health), *map(_plugin, health.plugins)]
    if health.is_starting:
        components.insert(1, Component(name="start", state="starting", problem="the kernel has not started completely"))
    if health.is_stopping:
        problem = "the kernel is stopping: it waits for running bodies, and starts nothing more"
        components.insert(1, Component(name="stop", state="stopping", problem=problem))
    return _answer(request, components)


def _answer(request: web.Request, components: list[Component]) -> Answer[HealthReport]:
    states = {component.state for component in components}
    status = next(state for state in WORST_FIRST if state in states)
    identity = request[IDENTITY]
    is_viewer = request.app[AUTHENTICATOR].is_open or identity.may("viewer")
    sees_all = identity.scope is None and is_viewer
    if not sees_all:
        components = [msgspec.structs.replace(one, problem=None, execution_id=None) for one in components]
    is_available = status in {"ok", "degraded"}
    kernel = request.app[KERNEL]
    health = kernel.health()
    state = scheduler_state(health)
    report = HealthReport(
        status=status,
        running=state == 1,
        state=state,
        timestamp=kernel.clock.now(),
        role=health.role,
        components=components,
        groups=[_group(group) for group in health.groups] if sees_all else [],
        hold=_hold(health.hold) if is_viewer else None,
    )
    return Answer(report, status=200 if is_available else 503)


def _hold(hold: Hold | None) -> HoldReport | None:
    return HoldReport(since=hold.since, actor=hold.actor, reason=hold.reason) if hold is not None else None


def _group(group: GroupHealth) -> GroupReport:
    fields = {name: getattr(group, name) for name in ("name", "limit", "rate", "running", "waiting", "starts")}
    return GroupReport(**fields, opens_in=group.opens_in_s)


def scheduler_state(health: Health) -> SchedulerState:
    """Return 1 while the kernel keeps time and starts runs, and 0 before and after."""
    keeps_time = health.state in {"healthy", "degraded"} and not health.is_starting and not health.is_stopping
    if health.role == "follower":
        keeps_time = health.leader is not None
    return 1 if keeps_time else 0


async def _kernel(request: web.Request) -> Component:
    kernel = request.app[KERNEL]
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            if kernel.health().role == "follower":
                await kernel.sleep(0.0)
            else:
                await kernel.live_runs()  # the cheapest call that the loop of a leader answers
    except TimeoutError:
        health = kernel.health()
        problem = health.problems.get("loop", f"its event loop has not answered for {ANSWER_LIMIT_S:g} s")
        return Component(name="kernel", state="failed", problem=problem, execution_id=health.blocked_by)
    except GnomonError as exc:  # it has stopped
        return Component(name="kernel", state="failed", problem=str(exc))
    health = kernel.health()
    is_alive = health.state in {"healthy", "degraded"}
    return Component(name="kernel", state="ok" if is_alive else "failed", problem=None if is_alive else health.problem)


def parts_of(health: Health) -> list[Component]:
    """Return the parts of the kernel itself, apart from its store and its plugins."""
    own = PARTS_OF_FOLLOWER if health.role == "follower" else PARTS
    names = dict.fromkeys((*own, *health.stalled, *health.problems))
    plugins = {f"plugin {plugin.name}" for plugin in health.plugins}
    return [_part(health, name) for name in names if name != "store" and name not in plugins]


def _part(health: Health, name: str) -> Component:
    problem = health.problems.get(name)
    state: ComponentState = "failed" if name in health.stalled else "degraded" if problem is not None else "ok"
    return Component(
        name=name, state=state, problem=problem, execution_id=health.blocked_by if name == "loop" and problem else None
    )


async def _store(request: web.Request, health: Health) -> Component:
    problem = health.store_problem or health.problems.get("store")
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await request.app[KERNEL].events(health.position, 1)
    except (GnomonError, TimeoutError) as exc:
        problem = problem or str(exc) or "it does not answer"  # the cause before its consequence
        return Component(name="store", state="failed", problem=problem, lag=health.backlog)
    state: ComponentState = "ok" if health.store_state == "healthy" and problem is None else "degraded"
    if not health.accepts_runs:
        state, problem = "failed", problem or "it has no room for new runs"
    return Component(name="store", state=state, problem=problem, lag=health.backlog)


def _plugin(plugin: PluginHealth) -> Component:
    """Return a plugin's component: one that hangs or fails harms nothing else, so the kernel stays ready."""
    state: ComponentState = "ok" if plugin.state == "healthy" and plugin.lag <= MAX_LAG else "degraded"
    if plugin.state == "starting":
        state = "starting"
    return Component(name=f"plugin:{plugin.name}", state=state, problem=plugin.problem, lag=plugin.lag)
