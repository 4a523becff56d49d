"""The status of the deployment on this machine: from its running kernel, and from its log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from gnomon.cli.access.order_channels import LEADER_LIMIT_S, channel_of
from gnomon.cli.access.stored_log import open_log, require_shared
from gnomon.deployment.assembly import Deployment
from gnomon.deployment.config import Config
from gnomon.domain.events import KernelStarted, KernelStopped
from gnomon.domain.kernel_health import Health, PluginHealth
from gnomon.domain.records import JournalState, LogHolder
from gnomon.errors import GnomonError, NoLeaderError
from gnomon.orders.submitting import submit_extra
from gnomon.ports import Store
from gnomon.stores.reading import newest_kernel_fact

HEALTH_LIMIT_S = 5.0
"""Time for the answer of a kernel; one that is stopped or whose event loop is blocked does not answer."""
HOLDER_LIMIT_S = 20.0
"""Time to find out whether a kernel that receives no orders is active; a lease of MongoDB lasts 15 s by default."""

State = Literal[
    "healthy", "degraded", "deposed", "starting", "stopping", "running", "silent", "ended", "stopped", "new"
]


class KernelStatus(msgspec.Struct, frozen=True):
    """A kernel of the log. `role` is None for one that does not run any more; then `stopped` and `reason` say more."""

    node: str
    pid: int
    role: Literal["leader"] | None
    since: datetime
    versions: dict[str, str]
    stopped: datetime | None = None
    reason: str | None = None


class StoreStatus(msgspec.Struct, frozen=True):
    """The store. Without an answer of the kernel only its name and the position of the log are known."""

    name: str
    position: int
    state: JournalState | None = None
    problem: str | None = None
    backlog: int | None = None


class DeploymentStatus(msgspec.Struct, frozen=True):
    """The status of a deployment. `running` and `waiting` count runs, None where no kernel has answered."""

    state: State
    problem: str | None
    kernels: list[KernelStatus]
    store: StoreStatus | None
    plugins: list[PluginHealth] = []
    running: int | None = None
    waiting: int | None = None

    @property
    def is_well(self) -> bool:
        """Whether a kernel runs and reports no problem."""
        return self.state in {"healthy", "running", "starting", "stopping"} and self.problem is None


async def read_status(config: Config) -> DeploymentStatus:
    """Return the status; GnomonError where neither a kernel answers nor a log can be read."""
    health, silence = None, None
    store = Deployment.store_only(config)
    try:
        async with asyncio.timeout(HEALTH_LIMIT_S):
            health = await submit_extra(channel_of(store, config), "health", Health, limit_s=LEADER_LIMIT_S)
    except NoLeaderError:
        pass
    except TimeoutError:
        silence = f"the kernel that leads did not answer within {HEALTH_LIMIT_S:g} s"
    except GnomonError as exc:
        silence = str(exc)
    try:
        require_shared(store)
    except GnomonError:
        if health is None:
            raise
        return _of_health(health, [])  # its log is in its memory
    holder = await _find_holder(store) if health is None else None
    async with open_log(store) as log:
        kernel = await _newest_kernel(log, is_up=health is not None or holder is not None)
        position = await log.head()
    kernels = [kernel] if kernel is not None else []
    if health is not None:
        return _of_health(health, kernels)
    state, problem = _without_health(holder, kernel)
    return DeploymentStatus(state, silence or problem, kernels, StoreStatus(store.name, position))


def _of_health(health: Health, kernels: list[KernelStatus]) -> DeploymentStatus:
    state: Any = "starting" if health.is_starting else "stopping" if health.is_stopping else health.state
    store = StoreStatus(health.store, health.position, health.store_state, health.store_problem, health.backlog)
    return DeploymentStatus(state, health.problem, kernels, store, health.plugins, health.running, health.waiting)


async def _find_holder(store: Store) -> LogHolder | None:
    """Return who holds the log; such a kernel may be a part of another program, or hang."""
    try:
        async with asyncio.timeout(HOLDER_LIMIT_S):
            return await store.holder()
    except (GnomonError, TimeoutError):  # the store cannot tell
        return None


async def _newest_kernel(log: Store, *, is_up: bool) -> KernelStatus | None:
    now = datetime.now(UTC) + timedelta(days=366)  # also where the clock was set back since
    started = await newest_kernel_fact(log, now, lambda fact: isinstance(fact, KernelStarted) and fact.keeps_time)
    if not isinstance(started, KernelStarted):
        return None
    stops = [fact for fact in await log.stream(started.stream) if isinstance(fact, KernelStopped)]
    role: Literal["leader"] | None = "leader" if is_up and not stops else None
    stopped, reason = (stops[-1].at, stops[-1].reason) if stops else (None, None)
    return KernelStatus(started.node, started.pid, role, started.at, started.versions, stopped, reason)


def _without_health(holder: LogHolder | None, kernel: KernelStatus | None) -> tuple[State, str | None]:
    if holder is not None and holder.is_active:
        return "running", None
    if holder is not None:
        return "silent", f"{holder.log} is held by {holder.name}, which has been silent for {holder.silent_s:.0f} s"
    if kernel is None:
        return "new", "no kernel has led this log yet; start one with `gnomon run`"
    if kernel.stopped is not None:
        return "stopped", "no kernel runs; start one with `gnomon run`"
    return "ended", "no kernel runs, and the last one did not stop in order; start one with `gnomon run`"
