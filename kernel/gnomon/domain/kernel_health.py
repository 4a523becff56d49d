"""The health of a kernel, of its plugins and of its groups, as operators and machines see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from gnomon.domain.events import Hold
from gnomon.domain.past_moment import PastMoment
from gnomon.domain.records import JournalState

Role = Literal["auto", "leader", "follower"]
"""What a kernel does: it leads where nobody does and else follows, it leads or does not start, or it never leads."""
KernelRole = Literal["leader", "follower"]
"""The part of a process in a log that several share: it writes the log, or reads it and passes orders on."""

PluginState = Literal["starting", "healthy", "degraded", "blocked", "stopped"]
NEEDS_ATTENTION: Final = frozenset({"degraded", "blocked", "stopped"})
"""States of plugins that are a problem of the kernel. One that is starting delays readiness only."""


class PluginHealth(msgspec.Struct, frozen=True):
    """The health of a plugin that observes or guards. `cursor` is the position of the last event that it has handled.

    `lag` is the number of events behind the head of the log. A plugin is degraded while its hooks keep failing, while
    its guard fails, and while its own attribute `problem` says so. `note` is what its attribute `note` says about its
    work, for people.
    """

    name: str
    state: PluginState
    cursor: int
    lag: int
    delivered: int
    failures: int
    problem: str | None
    note: str | None = None


def plugin_problems(plugins: Iterable[PluginHealth]) -> dict[str, str]:
    """Return a sentence for each plugin that needs attention, by component."""
    return {f"plugin {one.name}": one.problem or one.state for one in plugins if one.state in NEEDS_ATTENTION}


def with_problem(health: Health, component: str, problem: str) -> Health:
    """Return the health of a kernel with one more problem."""
    problems = {**health.problems, component: problem}
    text = "; ".join(filter(None, (health.problem, problem)))
    state = "degraded" if health.state == "healthy" else health.state
    return msgspec.structs.replace(health, state=state, problem=text, problems=problems)


class GroupHealth(msgspec.Struct, frozen=True):
    """A group at this moment: `running` has the ids of the runs that take its slots, also of lingering ones.

    `waiting` is the number of jobs with a run that waits for the group. `starts` counts those within the period of the
    rate, and `opens_in_s` is set while the rate alone keeps runs from starting.
    """

    name: str
    limit: int | None
    rate: str | None
    running: list[str]
    waiting: int
    starts: int | None = None
    opens_in_s: float | None = None


class Health(msgspec.Struct, frozen=True):
    """The health of the kernel.

    `state` is degraded while the store is, and while there are `problems` of the kernel itself, such as late starts, a
    blocked event loop, a clock that is behind the log, or a plugin that fails; it may still accept runs; `problem` has
    all of these as one text. `store_state` and `store_problem` are about the store and the journal alone. `backlog`
    counts events that have not reached the store: not durable yet, or spooled by a degraded store. While `accepts_runs`
    is false no event can be written, or the store has no room for new runs: they wait. `problems` has a sentence for
    each component. `stalled` names the components that make no progress: the process should be restarted. `is_starting`
    is true until the jobs are scheduled and all plugins have started, and `is_stopping` from the first moment of a
    stop, while running bodies may go on for the time of `drain`. `blocked_by` is the id of the execution that blocks
    the event loop, or has just done so.

    `running` counts the runs that hold a slot, without those that wait in a queue elsewhere: `waiting` has them.

    `lateness_s` is how late starts are and `append_s` how long an append takes, within the last seconds. `loop_stalls`
    counts the times when a run blocked the event loop, and `loop_stalled_s` is their sum. `clock_behind_s` is how far
    the clock is behind the newest event of the log.

    `lingering` are the runs, each with its job, that have ended, such as by their timeout, and whose bodies go on: each
    keeps its slot of the job until its body ends.

    `groups` are the groups of jobs that share limits. `hold` is set while an operator holds all fires back.

    `role` is what the process does now: it leads, or it follows the process that leads; None before the first term and
    after the end. `leader` names the process that leads, as far as this one knows; None where nobody does.

    `moment` is set for a kernel of the past (`KernelApi.at`): then everything here is as far as the log knows it.
    """

    state: JournalState
    problem: str | None
    store: str
    position: int
    backlog: int
    accepts_runs: bool
    running: int
    waiting: int
    plugins: list[PluginHealth]
    groups: list[GroupHealth] = []
    lingering: dict[str, str] = {}
    store_state: JournalState = "healthy"
    store_problem: str | None = None
    problems: dict[str, str] = {}
    stalled: list[str] = []
    hold: Hold | None = None
    is_starting: bool = False
    is_stopping: bool = False
    blocked_by: str | None = None
    lateness_s: float = 0.0
    append_s: float = 0.0
    loop_stalls: int = 0
    loop_stalled_s: float = 0.0
    clock_behind_s: float = 0.0
    role: KernelRole | None = None
    leader: str | None = None
    moment: PastMoment | None = None
