"""A scheduler of APScheduler is observed as it is: real schedulers, real executors, the real clock."""

import asyncio
import itertools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler import events as aps
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler

from gnomon import BackgroundKernel, Job, Kernel
from gnomon.analysis.audit import audit
from gnomon.analysis.explain import explain
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.records import ExecutionQuery
from gnomon.errors import AttachedJobError, GnomonError, JobExistsError
from gnomon.integrations.apscheduler import attach
from gnomon.integrations.apscheduler.observed_runs import ObservedRuns
from gnomon.stores.memory import MemoryStore
from gnomon.testing.histories import NOON, append, running, scheduled
from servers import eventually

SCHEDULERS: list[type[BaseScheduler]] = [BackgroundScheduler, AsyncIOScheduler]
EXECUTORS = "apscheduler.executors.default"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep what APScheduler logs about failures out of the output."""
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("apscheduler").setLevel(logging.NOTSET)


@pytest.fixture
def scheduler() -> Iterator[BackgroundScheduler]:
    scheduler = BackgroundScheduler(timezone="UTC")
    yield scheduler
    if scheduler.running:
        stop(scheduler)


def stop(scheduler: BaseScheduler) -> None:
    """Stop a scheduler between two of its rounds: in one, it fails to remove a job that has had its only run."""
    scheduler.pause()
    scheduler.get_jobs()  # waits for the round
    scheduler.shutdown()


def fails() -> None:
    raise RuntimeError("no rows")


async def log_of(kernel: Kernel) -> list[Event]:
    await kernel.sync_attached()
    return list(await kernel.events(0, 100_000))


def heard(seen: list[Any]) -> Counter[tuple[str, str, datetime | None]]:
    """Count the events of a listener of APScheduler, by job and time."""
    kinds = {aps.EVENT_JOB_EXECUTED: "succeeded", aps.EVENT_JOB_ERROR: "failed", aps.EVENT_JOB_MISSED: "late"}
    found: Counter[tuple[str, str, datetime | None]] = Counter()
    for event in seen:
        if event.code == aps.EVENT_JOB_MAX_INSTANCES:
            found.update(("overlap", event.job_id, time) for time in event.scheduled_run_times)
        elif event.code in kinds:
            found[kinds[event.code], event.job_id, event.scheduled_run_time] += 1
        elif event.code == aps.EVENT_JOB_ADDED:
            found["job_added", event.job_id, None] += 1
    return found


def recorded(log: list[Event]) -> Counter[tuple[str, str, datetime | None]]:
    """Count what the log says of runs and added jobs."""
    times = {event.stream: event.scheduled_time for event in log if isinstance(event, events.Scheduled | events.Missed)}
    found: Counter[tuple[str, str, datetime | None]] = Counter()
    for event in log:
        if isinstance(event, events.Missed):
            found[event.reason, event.job_id, event.scheduled_time] += 1
        elif isinstance(event, events.Succeeded | events.Failed):
            found[event.type, event.job_id, times[event.stream]] += 1
        elif isinstance(event, events.JobAdded):
            found["job_added", event.job_id, None] += 1
    return found


@pytest.mark.parametrize("kind", SCHEDULERS)
async def test_the_history_equals_the_events_of_a_listener(kind: type[BaseScheduler]) -> None:
    seen: list[Any] = []
    release = threading.Event()
    async with Kernel() as kernel:
        scheduler = kind(timezone="UTC")
        scheduler.add_listener(seen.append)
        async with attach(scheduler, kernel):
            past = datetime.now(UTC) - timedelta(hours=1)
            scheduler.add_job(lambda: {"rows": 3}, "interval", seconds=0.05, id="interval")
            scheduler.start()
            scheduler.add_job(fails, "cron", second="*", id="cron")
            scheduler.add_job(release.wait, "interval", seconds=0.05, id="slow", max_instances=2)
            scheduler.add_job(lambda: None, "date", id="once")
            scheduler.add_job(lambda: None, "date", run_date=past, id="misfire")
            scheduler.add_job(
                lambda: None, "interval", seconds=600, start_date=past, id="backlog", coalesce=False,
                misfire_grace_time=None, next_run_time=past,
            )  # fmt: skip
            enough = Counter(interval=5, cron=1, slow=4, once=1, misfire=1, backlog=6)
            await eventually(lambda: Counter(event.job_id for event in outcomes(seen)) >= enough)
            scheduler.pause()
            await asyncio.to_thread(scheduler.get_jobs)  # the events of the last round follow
            release.set()
            await eventually(lambda: len(ends(seen)) == submissions(seen))
            await asyncio.to_thread(scheduler.shutdown)
            log = await log_of(kernel)

    assert recorded(log) == heard(seen)
    assert {kind for kind, _, _ in heard(seen)} == {"succeeded", "failed", "late", "overlap", "job_added"}
    assert all(event.source == "APScheduler" for event in log if isinstance(event, events.Scheduled))


def submissions(seen: list[Any]) -> int:
    return sum(len(event.scheduled_run_times) for event in seen if event.code == aps.EVENT_JOB_SUBMITTED)


def outcomes(seen: list[Any]) -> list[Any]:
    return [*ends(seen), *(event for event in seen if event.code == aps.EVENT_JOB_MAX_INSTANCES)]


def ends(seen: list[Any]) -> list[Any]:
    return [e for e in seen if e.code in {aps.EVENT_JOB_EXECUTED, aps.EVENT_JOB_ERROR, aps.EVENT_JOB_MISSED}]


async def test_changes_of_jobs_are_recorded(scheduler: BackgroundScheduler) -> None:
    async with Kernel() as kernel, attach(scheduler, kernel):
        scheduler.start()
        scheduler.add_job(fails, "cron", hour=3, id="sync", name="Prices", max_instances=3)
        scheduler.pause_job("sync")
        paused = await latest(kernel, "sync")
        scheduler.resume_job("sync")
        scheduler.reschedule_job("sync", trigger="cron", hour=4)
        changed = await latest(kernel, "sync")
        scheduler.remove_job("sync")
        log = await log_of(kernel)
        jobs = await kernel.jobs()

    assert paused.state.paused
    assert paused.next_fire is None
    assert (changed.job.name, changed.job.cron, changed.job.max_instances) == ("Prices", "0 4 * * *", 3)
    assert not changed.state.paused
    assert changed.next_fire is not None
    assert (changed.state.origin, changed.state.owner, changed.state.temporary) == ("attached", "APScheduler", True)
    assert (changed.origin, changed.source) == ("attached", "APScheduler")
    assert [event.type for event in log if event.job_id] == [
        "job_added",
        "job_paused",
        "job_resumed",
        "job_changed",
        "job_removed",
    ]
    assert jobs == []


async def latest(kernel: Kernel, job_id: str) -> Any:
    await kernel.sync_attached()
    return await kernel.job(job_id)


async def test_a_run_is_seen_while_it_goes_on(scheduler: BackgroundScheduler) -> None:
    begun, release = threading.Event(), threading.Event()

    def body() -> str:
        begun.set()
        release.wait()
        return "done"

    async with Kernel() as kernel, attach(scheduler, kernel):
        scheduler.start()
        scheduler.add_job(body, "date", id="long", name="Long one")
        await asyncio.to_thread(begun.wait)
        await kernel.sync_attached()
        (running,) = (await kernel.executions(ExecutionQuery())).items
        release.set()
        done = await kernel.wait(running.id)

    assert (running.status, running.job_name, running.imported_from) == ("running", "Long one", "APScheduler")
    assert running.runner == "apscheduler"
    assert (done.status, done.return_value) == ("success", "done")
    assert done.execution_time is not None


async def test_a_failure_has_its_error_and_traceback(scheduler: BackgroundScheduler) -> None:
    async with Kernel() as kernel, attach(scheduler, kernel):
        scheduler.start()
        scheduler.add_job(fails, "date", id="sync")
        await eventually(lambda: _ended(kernel))
        (run,) = (await kernel.executions(ExecutionQuery())).items

    assert (run.status, run.reason, run.error_type, run.error_message) == (
        "failed",
        "exception",
        "RuntimeError",
        "no rows",
    )
    assert run.traceback is not None
    assert run.traceback.startswith("Traceback (most recent call last):")
    assert run.traceback.endswith('raise RuntimeError("no rows")\nRuntimeError: no rows')


async def _ended(kernel: Kernel) -> bool:
    return any(run.is_over for run in (await kernel.executions(ExecutionQuery())).items)


class LosingExecutor(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """An executor whose pool breaks: APScheduler has no event for that."""

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        threading.Thread(target=self._run_job_error, args=(job.id, OSError("the pool is broken"))).start()


async def test_a_run_that_its_executor_lost_fails(scheduler: BackgroundScheduler) -> None:
    async with Kernel() as kernel, attach(scheduler, kernel):
        scheduler.add_executor(LosingExecutor(), "losing")
        scheduler.start()
        scheduler.add_job(fails, "interval", seconds=0.01, id="sync", executor="losing")
        await eventually(lambda: _ended(kernel))
        run = (await kernel.executions(ExecutionQuery(status=("failed",)))).items[0]

    assert (run.error_type, run.error_message) == ("OSError", "the pool is broken")


async def test_orders_to_the_kernel_are_refused(scheduler: BackgroundScheduler) -> None:
    async with Kernel() as kernel, attach(scheduler, kernel):
        scheduler.start(paused=True)
        scheduler.add_job(fails, "cron", hour=3, id="sync")
        await kernel.sync_attached()
        for order in (
            kernel.trigger("sync"),
            kernel.pause("sync"),
            kernel.resume("sync"),
            kernel.remove_job("sync"),
            kernel.change_job("sync", cron="0 4 * * *"),
            kernel.add_job(Job(id="sync", func="time:time")),
            kernel.add_job(Job(id="sync", func="time:time"), replace=True),
            kernel.apply_jobs([Job(id="sync", func="time:time")]),
            kernel.apply_jobs([Job(id="sync", func="time:time")], owner="APScheduler"),
        ):
            with pytest.raises(AttachedJobError, match="'APScheduler', which alone runs and changes it"):
                await order
        await kernel.apply_jobs([Job(id="other", func="time:time")])  # a reload leaves it alone
        jobs = [view.job.id for view in await kernel.jobs()]

    assert jobs == ["other", "sync"]


async def test_jobs_with_ids_that_are_taken_or_not_valid_get_others(scheduler: BackgroundScheduler) -> None:
    async with Kernel(jobs=[Job(id="sync", func="time:time")]) as kernel, attach(scheduler, kernel):
        scheduler.start(paused=True)
        scheduler.add_job(fails, "cron", hour=3, id="sync")
        scheduler.add_job(fails, "cron", hour=3, id="not valid!")
        await kernel.sync_attached()
        jobs = [view.job.id for view in await kernel.jobs()]

    assert jobs[:2] == ["apscheduler:sync", "not-valid-7b9ad6"] or jobs[0] == "apscheduler:sync"
    assert len(jobs) == 3


async def test_explain_and_audit_say_who_decided(scheduler: BackgroundScheduler) -> None:
    store = MemoryStore()
    async with Kernel(store=store) as kernel, attach(scheduler, kernel):
        begin = datetime.now(UTC) - timedelta(minutes=1)
        scheduler.start()
        scheduler.add_job(fails, "interval", seconds=0.02, id="sync")
        await eventually(lambda: _ended(kernel))
        report = await audit(store, begin, datetime.now(UTC))
        explained = await explain(store, "sync", None, datetime.now(UTC))

    assert report.is_proved
    assert [one.reason for one in report.jobs[0].unproved] == ["APScheduler decided its fires, not a kernel"] or (
        report.jobs[0].fires == 0
    )
    assert "was recorded from APScheduler" in " ".join(explained.sentences)


# --- the end ---


async def test_detaching_leaves_nothing_behind(scheduler: BackgroundScheduler) -> None:
    logger = logging.getLogger(EXECUTORS)
    before = (logger.level, list(logger.filters), list(scheduler._listeners))
    ran = threading.Event()
    async with Kernel() as kernel:
        scheduler.start()
        attachment = await attach(scheduler, kernel)
        scheduler.add_job(fails, "cron", hour=3, id="sync")
        await attachment.detach()
        after = (logger.level, list(logger.filters), list(scheduler._listeners))
        jobs, head = await kernel.jobs(), len(await log_of(kernel))
        scheduler.add_job(ran.set, "date", id="later")
        await asyncio.to_thread(ran.wait)
        await attachment.detach()  # a second time changes nothing
        head_later = len(await log_of(kernel))
        names = {task.get_name() for task in asyncio.all_tasks()}

    assert after == before
    assert jobs == []
    assert head_later == head
    assert not any("attached" in name for name in names)


async def test_an_open_run_is_lost_when_its_scheduler_is_detached(scheduler: BackgroundScheduler) -> None:
    begun, release = threading.Event(), threading.Event()

    def body() -> None:
        begun.set()
        release.wait()

    async with Kernel() as kernel:
        async with attach(scheduler, kernel):
            scheduler.start()
            scheduler.add_job(body, "date", id="long")
            await asyncio.to_thread(begun.wait)
        release.set()
        (run,) = (await kernel.executions(ExecutionQuery())).items

    assert (run.status, run.reason) == ("failed", "lost")
    assert run.error_message == "its end is not known: it was detached"


async def test_a_kernel_that_stops_first_records_the_end(scheduler: BackgroundScheduler) -> None:
    store = MemoryStore()
    ran = threading.Event()
    async with Kernel(store=store) as kernel:
        scheduler.start()
        attachment = await attach(scheduler, kernel)
        scheduler.add_job(fails, "cron", hour=3, id="sync")
    scheduler.add_job(ran.set, "date", id="later")
    await asyncio.to_thread(ran.wait)  # the scheduler goes on
    await attachment.detach()

    await store.open(read_only=True)
    removed = [event for event in await store.read(0, 100) if isinstance(event, events.JobRemoved)]
    assert [event.reason for event in removed] == ["the kernel was stopped"]


async def test_a_job_that_comes_back_continues_its_stream(scheduler: BackgroundScheduler) -> None:
    async with Kernel() as kernel:
        scheduler.start(paused=True)
        scheduler.add_job(fails, "cron", hour=3, id="sync")
        for _ in range(2):
            async with attach(scheduler, kernel):
                pass
        log = await log_of(kernel)

    assert [(event.type, event.version) for event in log if event.job_id] == [
        ("job_added", 1),
        ("job_removed", 2),
        ("job_added", 3),
        ("job_removed", 4),
    ]


async def test_two_schedulers_need_two_names(scheduler: BackgroundScheduler) -> None:
    async with Kernel() as kernel, attach(scheduler, kernel):
        with pytest.raises(GnomonError, match="'APScheduler' is attached already"):
            await attach(BackgroundScheduler(timezone="UTC"), kernel)
        async with attach(BackgroundScheduler(timezone="UTC"), kernel, name="Second"):
            pass


async def test_after_a_kill_the_next_kernel_settles_what_was_attached() -> None:
    """The log is that of a kernel that was killed: a run in a body, one that had not begun, and the job of both."""
    store = MemoryStore()
    await store.open()
    source: dict[str, Any] = {"source": "APScheduler"}
    job = events.JobAdded(
        stream="job:sync", version=1, at=NOON, node="a", job_id="sync", definition={"id": "sync", "func": "time:time"},
        origin="attached", owner="APScheduler", temporary=True,
    )  # fmt: skip
    await append(store, [job], running("sync", **source), scheduled("sync", NOON + timedelta(hours=1), **source))
    await store.close()

    async with Kernel(store=store, jobs=[Job(id="sync", func="time:time")]) as kernel:
        runs = (await kernel.executions(ExecutionQuery())).items
        (view,) = await kernel.jobs()
        log = await log_of(kernel)

    assert {(run.status, run.reason) for run in runs} == {("failed", "lost"), ("missed", "downtime")}
    assert view.state.origin == "code"
    assert [event.type for event in log if isinstance(event, events.JobEvent)] == [
        "job_added",
        "job_removed",
        "job_added",
    ]


# --- what the program logs ---


@pytest.mark.parametrize(("level", "expected"), [(logging.WARNING, False), (logging.INFO, True)])
async def test_the_program_logs_what_it_did_before(scheduler: BackgroundScheduler, level: int, expected: bool) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[assignment,method-assign]
    logging.getLogger("apscheduler").setLevel(level)
    logging.getLogger(EXECUTORS).addHandler(handler)
    try:
        async with Kernel() as kernel, attach(scheduler, kernel):
            scheduler.start()
            scheduler.add_job(lambda: None, "date", id="sync")
            await eventually(lambda: _ended(kernel))
            (run,) = (await kernel.executions(ExecutionQuery())).items
    finally:
        logging.getLogger(EXECUTORS).removeHandler(handler)

    assert run.worker  # its start was seen at either level
    assert any("Running job" in record.msg for record in records) is expected


# --- without a loop ---


def test_a_program_without_a_loop_attaches_to_a_background_kernel(scheduler: BackgroundScheduler) -> None:
    ran = threading.Event()
    with BackgroundKernel() as kernel, attach(scheduler, kernel):
        scheduler.start()
        scheduler.add_job(ran.set, "date", id="once")
        ran.wait()
        stop(scheduler)
        asyncio.run(kernel.kernel.sync_attached())
        (run,) = kernel.executions(ExecutionQuery()).items

    assert (run.job_id, run.status) == ("once", "success")


# --- in any order ---

STEPS = ("submitted", "begun", "done", "ended")
ORDERS = [
    tuple(filter(None, order))
    for order in itertools.permutations(STEPS)
    if order.index("begun") < order.index("done") < order.index("ended")
]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_a_run_is_complete_in_whatever_order_its_parts_come(
    order: tuple[str, ...], gnomon_kernel: Callable[..., Kernel]
) -> None:
    async with gnomon_kernel() as kernel:
        attached = await kernel.attach_scheduler("APScheduler")
        runs = ObservedRuns(attached)
        parts: dict[str, Callable[[], None]] = {
            "submitted": lambda: runs.submitted("sync", "Sync", [NOON], 10.0),
            "begun": lambda: runs.begun("sync", "Sync", NOON, "thread", (NOON + timedelta(seconds=2), 11.0)),
            "done": lambda: runs.done("sync", NOON, 14.0),
            "ended": lambda: runs.ended("sync", "Sync", NOON, 20.0, {"return_value": None}),
        }
        for step in order:
            parts[step]()
        await kernel.sync_attached()
        (run,) = (await kernel.executions(ExecutionQuery())).items
        await kernel.detach_scheduler(attached, "it was detached")

    assert (run.status, run.delay, run.job_name) == ("success", 2.0, "Sync")
    assert not runs._runs
    assert not attached.open


async def test_a_job_of_the_kernel_cannot_be_put_as_attached(gnomon_kernel: Callable[..., Kernel]) -> None:
    async with gnomon_kernel(Job(id="sync", func="time:time")) as kernel:
        attached = await kernel.attach_scheduler("APScheduler")
        with pytest.raises(JobExistsError):
            await attached.put_job(Job(id="sync", func="time:time"), paused=False, next_fire=None)
