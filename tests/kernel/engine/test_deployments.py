"""Which definitions count where processes with different ones lead one after the other."""

from __future__ import annotations

import getpass
from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import Job, Kernel, KernelLed
from gnomon.domain.records import ActionQuery
from gnomon.engine.deployments import decide
from gnomon.errors import ParameterError
from gnomon.jobs.registered import register_job
from gnomon_sqlite.store import SqliteStore

OLD, NEW, NEWEST = (Job(id="x", func="time:time", cron=f"0 {hour} * * *") for hour in (1, 2, 3))
AGAIN = (
    "definitions of an earlier deployment are in force again: if that is not a rollback, start the processes with the "
    "newer ones again; with `revision` in [kernel] the log can tell"
)


async def taken_over(log: Path, seen: int, job: Job) -> tuple[int, str, Sequence[MutableMapping[str, Any]]]:
    """Return the deployment and the cron expression with which a process leads, and what it logs."""
    async with SqliteStore(log) as store:
        states = await store.jobs(removed=False)
        with capture_logs() as logged:
            decision = await decide(store, datetime.now(UTC), seen, [register_job(job, "UTC")], states)
    leads_with = decision.jobs[0].job if decision.jobs is not None else job
    return decision.mark.number, str(leads_with.cron), logged


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """A log with two deployments."""
    for job in (OLD, NEW):
        async with Kernel(store=SqliteStore(tmp_path / "log.db"), jobs=[job]):
            pass
    return tmp_path / "log.db"


async def test_an_old_process_leads_with_the_newer_definitions_of_the_log(log: Path) -> None:
    number, cron, logged = await taken_over(log, seen=1, job=OLD)

    assert (number, cron) == (2, NEW.cron)
    assert [line["log_level"] for line in logged] == ["warning"]


async def test_definitions_that_no_deployment_had_are_put_in_force(log: Path) -> None:
    assert await taken_over(log, seen=2, job=NEWEST) == (3, NEWEST.cron, [])
    assert await taken_over(log, seen=2, job=NEW) == (2, NEW.cron, [])


async def test_an_earlier_deployment_that_comes_back_by_a_take_over_is_named(log: Path) -> None:
    number, cron, logged = await taken_over(log, seen=2, job=OLD)

    assert (number, cron) == (3, OLD.cron)
    (line,) = logged
    assert (line["event"], line["deployment"], line["same_as"], line["replaced"]) == (AGAIN, 3, 1, 2)


class Deploy:
    """Kernels that lead one log, one after the other, and what the log says about them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def kernel(self, job: Job, revision: int | str | datetime | None) -> Kernel:
        return Kernel(store=SqliteStore(self._path), jobs=[job], revision=revision, role="leader")

    async def leads_with(self, job: Job, revision: int | str | datetime | None) -> tuple[str | None, str | None]:
        """Return the cron expression with which a process of a revision leads, and what its health says about it."""
        async with self.kernel(job, revision) as kernel:
            return (await kernel.job("x")).job.cron, kernel.health().problems.get("revision")

    async def facts(self) -> list[tuple[int, str | None, str | None]]:
        """Return number, revision and newest revision of all terms and reloads."""
        async with SqliteStore(self._path) as store:
            led = [event for event in await store.read(0, 1_000) if isinstance(event, KernelLed)]
        return [(fact.deployment, fact.revision, fact.newest_revision) for fact in led]


@pytest.fixture
def deploy(tmp_path: Path) -> Deploy:
    return Deploy(tmp_path / "log.db")


async def test_a_process_of_an_older_revision_that_is_started_late_leads_with_the_newer_definitions(
    deploy: Deploy,
) -> None:
    assert await deploy.leads_with(NEW, 42) == (NEW.cron, None)
    cron, problem = await deploy.leads_with(OLD, 41)

    assert cron == NEW.cron
    assert problem == (
        "this process is of revision 41, and the log has revision 42: it leads with the definitions of the log; start "
        "the newer version in its place, or, to go back to its own on purpose, give it a revision above 42 or run "
        "`gnomon reload`"
    )
    assert await deploy.leads_with(NEWEST, 43) == (NEWEST.cron, None)
    assert await deploy.facts() == [(1, "42", "42"), (1, "42", "42"), (2, "43", "43")]


async def test_who_puts_other_definitions_in_force_is_in_the_history(deploy: Deploy) -> None:
    await deploy.leads_with(OLD, 41)
    await deploy.leads_with(OLD, 41)
    await deploy.leads_with(NEW, 42)
    async with deploy.kernel(OLD, 43) as kernel:
        await kernel.apply_jobs([OLD], actor="ann", reason="nothing changes")
        await kernel.apply_jobs([NEWEST], actor="ann", reason="43 is better")
        page = await kernel.actions(ActionQuery(action="deploy"))

    user = getpass.getuser()
    assert [(act.actor, act.detail) for act in page.items] == [
        ("ann", "deployment 4 of revision 43 by a reload: 43 is better"),
        (user, "deployment 3 of revision 43 by a start"),
        (user, "deployment 2 of revision 42 by a start"),
    ]


async def test_a_process_without_a_revision_is_older_than_each_revision(deploy: Deploy) -> None:
    assert await deploy.leads_with(OLD, None) == (OLD.cron, None)
    assert await deploy.leads_with(NEW, "2.10") == (NEW.cron, None)
    cron, problem = await deploy.leads_with(OLD, None)

    assert cron == NEW.cron
    assert problem is not None
    assert problem.startswith("this process has no revision, and the log has revision 2.10: it leads with the def")
    assert (await deploy.leads_with(OLD, "2.9"))[0] == NEW.cron


async def test_within_one_revision_the_process_that_is_started_last_counts(deploy: Deploy) -> None:
    assert await deploy.leads_with(OLD, 42) == (OLD.cron, None)
    assert await deploy.leads_with(NEW, 42) == (NEW.cron, None)
    assert await deploy.leads_with(OLD, 42) == (OLD.cron, None)


async def test_a_rollback_by_old_definitions_of_a_newer_revision_counts(deploy: Deploy) -> None:
    await deploy.leads_with(OLD, 41)
    await deploy.leads_with(NEW, 42)

    assert await deploy.leads_with(OLD, 43) == (OLD.cron, None)
    assert (await deploy.leads_with(NEW, 42))[0] == OLD.cron


async def test_a_rollback_by_a_reload_stays_until_a_revision_is_newer_than_all_before(deploy: Deploy) -> None:
    await deploy.leads_with(NEW, 42)
    async with deploy.kernel(OLD, 41) as kernel:
        assert (await kernel.job("x")).job.cron == NEW.cron
        with capture_logs() as logged:
            await kernel.apply_jobs([OLD], actor="ann", reason="42 is broken")
        assert (await kernel.job("x")).job.cron == OLD.cron
        assert kernel.health().problems == {}
    (line,) = [one for one in logged if one["log_level"] == "warning"]
    assert (line["revision"], line["newest"]) == ("41", "42")

    cron, problem = await deploy.leads_with(NEW, 42)
    assert cron == OLD.cron
    assert problem is not None
    assert problem.startswith(
        "this process is of revision 42, which was rolled back: the log has revision 41: it leads"
    )
    assert await deploy.leads_with(OLD, 41) == (OLD.cron, None)
    assert await deploy.leads_with(NEWEST, 43) == (NEWEST.cron, None)
    assert [fact[1:] for fact in await deploy.facts()][-4:] == [("41", "42"), ("41", "42"), ("41", "42"), ("43", "43")]


async def test_a_reload_may_bring_a_revision_and_refuses_what_has_no_order(deploy: Deploy) -> None:
    async with deploy.kernel(OLD, 41) as kernel:
        await kernel.apply_jobs([NEW], revision=42)
        assert [member.revision for member in await kernel.kernels()] == ["42"]
        with pytest.raises(ParameterError, match="expected a whole number such as 42"):
            await kernel.apply_jobs([OLD], revision="4c1f2e")
    assert (await deploy.leads_with(OLD, 41))[0] == NEW.cron
