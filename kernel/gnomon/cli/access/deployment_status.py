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
from gnomon.domain.kernel_health import Health, KernelRole, PluginHealth
from gnomon.domain.kernel_member import KernelMember, member_problems
from gnomon.domain.records import JournalState, LogHolder
from gnomon.domain.rollback import Loss
from gnomon.domain.workers import WorkerView, all_problems
from gnomon.errors import GnomonError, NoLeaderError
from gnomon.orders.submitting import submit_call, submit_extra
from gnomon.ports import OrderChannel, Store
from gnomon.stores.reading import newest_kernel_fact

HEALTH_LIMIT_S = 5.0
"""Time for the answer of a kernel; one that is stopped or whose event loop is blocked does not answer."""
WORKERS_LIMIT_S = 10.0
"""Time for the list of workers, which a kernel asks its runners for."""
HOLDER_LIMIT_S = 20.0
"""Time to find out whether a kernel that receives no orders is active; a lease on a server lasts 15 s by default."""

State = Literal[
    "healthy",
    "degraded",
    "deposed",
    "starting",
    "stopping",
    "running",
    "silent",
    "leaderless",
    "ended",
    "stopped",
    "new",
]


class KernelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel of the log. `role` is None for one that does not run any more; then `stopped` and `reason` say more.

    `since` is the start of its present role, `position` the last event that it has, `lag` the number of events behind
    the leader, `lag_s` the age of the first of them, and `seen` the time of its last sign of life. These are None where
    no kernel has answered.
    """

    node: str
    pid: int
    role: KernelRole | None
    since: datetime
    seen: datetime | None = None
    position: int | None = None
    lag: int | None = None
    lag_s: float | None = None
    state: JournalState | None = None
    problem: str | None = None
    may_lead: bool | None = None
    revision: str | None = None
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
    """The status of a deployment. `running` and `waiting` count runs, None where no kernel has answered.

    `kernels` has the kernel that leads, or the last one that did, and then those that follow. `workers` are those that
    run bodies elsewhere, with the queues in which runs wait for them; None where no kernel has answered.
    """

    state: State
    problem: str | None
    kernels: list[KernelStatus]
    store: StoreStatus | None
    plugins: list[PluginHealth] = []
    running: int | None = None
    waiting: int | None = None
    workers: WorkerView | None = None

    @property
    def is_well(self) -> bool:
        """Whether a kernel runs, and none reports a problem."""
        return self.state in {"healthy", "running", "starting", "stopping"} and self.problem is None


class Answers(msgspec.Struct, frozen=True):
    """What the kernel that leads has answered, and why it has not where it should have."""

    health: Health | None = None
    members: list[KernelMember] = []
    silence: str | None = None
    workers: WorkerView | None = None


async def read_status(config: Config) -> DeploymentStatus:
    """Return the status; GnomonError where neither a kernel answers nor a log can be read."""
    store = Deployment.store_only(config)
    channel = channel_of(store, config)
    answers = await _ask(channel)
    try:
        require_shared(store)
    except GnomonError:
        if answers.health is None:
            raise
        return _of_health(answers.health, answers)  # its log is in its memory
    if answers.health is not None:
        return _of_health(answers.health, answers)
    holder, followers = await asyncio.gather(_find_holder(store), _announced(channel))
    async with open_log(store) as log:
        last = await _newest_kernel(log, is_up=holder is not None)
        position, loss = await log.head(), log.loss
    kernels = [*([last] if last is not None else []), *map(_status_of, followers)]
    state, problem = _without_health(holder, last, followers, loss)
    if state != "silent":  # what is known about the holder says more
        problem = answers.silence or problem
    return DeploymentStatus(state, problem, kernels, StoreStatus(store.name, position))


async def _ask(channel: OrderChannel) -> Answers:
    try:
        async with asyncio.timeout(HEALTH_LIMIT_S):
            health = await submit_extra(channel, "health", Health, limit_s=LEADER_LIMIT_S)
            members = await submit_call(channel, "kernels", limit_s=LEADER_LIMIT_S)
    except NoLeaderError:
        return Answers()
    except TimeoutError:
        return Answers(silence=f"the kernel that leads did not answer within {HEALTH_LIMIT_S:g} s")
    except GnomonError as exc:
        return Answers(silence=str(exc))
    return Answers(health, members, workers=await _workers(channel))


async def _workers(channel: OrderChannel) -> WorkerView:
    try:
        async with asyncio.timeout(WORKERS_LIMIT_S):
            view: WorkerView = await submit_call(channel, "workers", limit_s=LEADER_LIMIT_S)
    except (GnomonError, TimeoutError) as exc:
        why = str(exc) or f"no answer within {WORKERS_LIMIT_S:g} s"
        return WorkerView(problems=[f"the workers cannot be listed: {why}"])
    return view


async def _announced(channel: OrderChannel) -> list[KernelMember]:
    try:
        async with asyncio.timeout(HEALTH_LIMIT_S):
            return await channel.announced()
    except (GnomonError, TimeoutError):  # reading the log says what is wrong
        return []


def _of_health(health: Health, answers: Answers) -> DeploymentStatus:
    members, workers = answers.members, answers.workers
    state: Any = "starting" if health.is_starting else "stopping" if health.is_stopping else health.state
    problems = [health.problem, *member_problems(members)]
    if workers is not None and "workers" not in health.problems:  # it names what has lasted for a while
        problems += all_problems(workers)
    if any(problems[1:]) and state == "healthy":
        state = "degraded"
    store = StoreStatus(health.store, health.position, health.store_state, health.store_problem, health.backlog)
    problem = "; ".join(filter(None, problems)) or None
    kernels = [_status_of(member) for member in members]
    return DeploymentStatus(state, problem, kernels, store, health.plugins, health.running, health.waiting, workers)


def _status_of(member: KernelMember) -> KernelStatus:
    return msgspec.convert(member, KernelStatus, from_attributes=True)


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
    return KernelStatus(
        node=started.node,
        pid=started.pid,
        role="leader" if is_up and not stops else None,
        since=started.at,
        versions=started.versions,
        stopped=stops[-1].at if stops else None,
        reason=stops[-1].reason if stops else None,
    )


def _without_health(
    holder: LogHolder | None, last: KernelStatus | None, followers: list[KernelMember], loss: Loss | None
) -> tuple[State, str | None]:
    if holder is not None and holder.is_active:
        return "running", None
    if holder is not None:
        silence = f"{holder.log} is held by {holder.name}, which has been silent for {holder.silent_s:.0f} s"
        return "silent", f"{silence}: `gnomon takeover` ends its term"
    if followers:
        return "leaderless", _leaderless(followers)
    state, problem = _ended(last)
    if loss is not None:  # a kernel would refuse to start
        return "ended" if last is None else state, loss.refusal
    return state, problem


def _ended(last: KernelStatus | None) -> tuple[State, str]:
    if last is None:
        return "new", "no kernel has led this log yet; start one with `gnomon run`"
    if last.stopped is not None:
        return "stopped", "no kernel runs; start one with `gnomon run`"
    return "ended", "no kernel runs, and the last one did not stop in order; start one with `gnomon run`"


def _leaderless(followers: list[KernelMember]) -> str:
    count, able = len(followers), sum(member.may_lead for member in followers)
    who = "1 process follows it" if count == 1 else f"{count} processes follow it"
    hint = f"{able} of them may lead" if able else "none of them may lead; start a kernel with `gnomon run`"
    return f"no kernel leads the log, so nothing fires and orders wait: {who}, and {hint}"
