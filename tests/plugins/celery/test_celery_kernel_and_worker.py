"""A kernel and real workers: what a body does there is in the log as if it had run here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celery_kernels import celery_job, celery_kernel, run_of, until
from celery_workers import CeleryWorker, has_lines
from gnomon import Execution, ExecutionQuery, Job, JobError
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import load_config
from gnomon.deployment.kernel_factory import build_kernel
from gnomon.deployment.reload import Reloader
from gnomon.domain import events
from gnomon.durations import Duration
from gnomon.testing import RecordingStore
from log_checker import check_interval, check_log
from servers import RedisServer, find_redis

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(find_redis(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.clean_up()


@pytest.fixture(scope="module")
def worker(broker: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryWorker]:
    """Provide a worker with two processes, which may die, and which takes from the default queue."""
    worker = CeleryWorker(tmp_path_factory.mktemp("worker"), broker.url)
    worker.start("--concurrency=2")
    yield worker
    worker.clean_up()


def body(name: str, **keys: Any) -> Job:
    return celery_job(**{"id": name, "func": f"worker_bodies:{name}", "kwargs": {}, **keys})


def holding(name: str, path: Path, **keys: Any) -> Job:
    return body(name, kwargs={"path": str(path)}, **keys)


async def has_begun(path: Path, eventually: Eventually) -> None:
    await eventually(lambda: has_lines(Path(f"{path}.began")))


async def ended(job: Job, broker: RedisServer, *others: Job) -> Execution:
    async with celery_kernel(broker.url, job, *others) as kernel:
        return await kernel.end_of(await run_of(kernel, job.id))


async def test_an_operator_looks_into_the_process_of_a_worker(
    broker: RedisServer, worker: CeleryWorker, tmp_path: Path, eventually: Eventually
) -> None:
    gate = tmp_path / "gate"
    async with celery_kernel(broker.url, holding("hold", gate)) as kernel:
        run = await run_of(kernel, "hold")
        await has_begun(gate, eventually)
        await until(kernel, run, eventually, lambda one: one.status == "running")
        sample = await kernel.sample(run)
        gate.touch()
        assert (await kernel.end_of(run)).status == "success"

    assert (sample.problem, sample.runner, sample.is_shared) == (None, "celery", False)
    frames = sample.stacks[0].frames
    assert frames[0].function == "hold"
    assert Path(frames[0].file).read_text().splitlines()[frames[0].line - 1].strip() == frames[0].source
    assert sample.process is not None
    assert sample.cpu_s is not None


async def test_progress_lines_and_result_arrive_as_from_a_thread(broker: RedisServer, worker: CeleryWorker) -> None:
    async with celery_kernel(broker.url, body("talk")) as kernel:
        run = await run_of(kernel, "talk")
        found = await kernel.end_of(run)
        assert (found.status, found.runner, found.worker) == ("success", "celery", worker.name)
        assert (found.progress.message, found.progress.step, found.progress.percent) == ("almost", "save", 100)
        assert [step.name for step in found.progress.steps] == ["load", "save"]
        lines = [(line.level, line.text) for line in await kernel.log(run)]
    assert lines == [
        ("info", "loading 3 rows"),
        ("warning", "slow seconds=2"),
        ("stdout", "printed 1 2"),
        ("stderr", "an error"),
        ("stdout", "no end of line"),
    ]


async def test_a_body_triggers_a_run_that_runs_in_a_worker_too(broker: RedisServer, worker: CeleryWorker) -> None:
    other = body("add", id="other", kwargs={"a": 1, "b": 2})
    async with celery_kernel(broker.url, body("order"), other) as kernel:
        run = await run_of(kernel, "order")
        found = await kernel.end_of(run)
        assert found.status == "success", found.error_message
        triggered = await kernel.end_of(found.return_value)
        assert (triggered.return_value, triggered.triggered_by) == (3, run)


async def test_a_body_adds_a_job(broker: RedisServer, worker: CeleryWorker) -> None:
    async with celery_kernel(broker.url, body("add_job")) as kernel:
        found = await kernel.end_of(await run_of(kernel, "add_job"))
        assert found.status == "success", found.traceback
        assert "added" in {view.job.id for view in await kernel.jobs()}


async def test_a_function_that_only_the_kernel_can_import_is_unknown_to_the_worker(
    broker: RedisServer, worker: CeleryWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def run():\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = await ended(body("only_here", func="only_here:run"), broker)
    assert (found.status, found.reason) == ("failed", "unknown_function")
    assert worker.name in str(found.error_message)


async def test_a_result_that_is_too_large_is_cut_as_anywhere(broker: RedisServer, worker: CeleryWorker) -> None:
    found = await ended(body("huge"), broker)
    assert found.status == "success"
    assert "characters left out" in found.return_value
    assert len(found.return_value) < 100_000


async def test_arguments_that_do_not_serialise_are_refused_before_anything_is_sent(broker: RedisServer) -> None:
    async with celery_kernel(broker.url, body("add", kwargs={"b": 1})) as kernel:
        with pytest.raises(JobError, match=r"must be JSON, .* kwargs\['a'\] is of type object"):
            await kernel.trigger("add", kwargs={"a": object()})


@pytest.mark.parametrize("name", ["hold_and_clean_up", "hold_async", "hold_deaf", "cling"])
async def test_a_cancelled_body_stops_even_if_it_does_not_want_to(
    broker: RedisServer, worker: CeleryWorker, tmp_path: Path, name: str, eventually: Eventually
) -> None:
    module = "celery_bodies" if name == "cling" else "worker_bodies"
    job = holding(name, path := tmp_path / "end", cancel_grace="500ms", func=f"{module}:{name}")
    async with celery_kernel(broker.url, job) as kernel:
        run = await run_of(kernel, job.id)
        await has_begun(path, eventually)
        await until(kernel, run, eventually, lambda one: one.status == "running")
        await kernel.cancel(run, actor="anna")
        found = await kernel.end_of(run)
        assert (found.status, found.cancelled_by) == ("cancelled", "anna")
    if name == "hold_and_clean_up":
        assert path.read_text().startswith("cleaned")


async def test_a_body_that_outlasts_its_timeout_fails(
    broker: RedisServer, worker: CeleryWorker, tmp_path: Path
) -> None:
    found = await ended(holding("hold", tmp_path / "end", timeout="500ms", cancel_grace="5s"), broker)
    assert (found.status, found.reason) == ("failed", "timeout")


async def test_a_body_goes_on_while_no_kernel_runs_and_ends_at_the_next(
    broker: RedisServer, worker: CeleryWorker, tmp_path: Path, eventually: Eventually
) -> None:
    path, store = tmp_path / "end", RecordingStore()
    job = body("talk_then_hold", kwargs={"path": str(path), "lines": 20})
    async with celery_kernel(broker.url, job, store=store) as kernel:
        run = await run_of(kernel, job.id)
        await has_begun(path, eventually)
        await until(kernel, run, eventually, lambda one: one.status == "running")
    path.touch()
    async with celery_kernel(broker.url, job, store=store) as kernel:
        found = await kernel.end_of(run)
        assert (found.status, found.return_value, found.progress.processed_items) == ("success", "held", 20)
        lines = [line.text for line in await kernel.log(run)]
    assert lines == [*(f"line {n}" for n in range(20)), "the end"]
    assert len(store.recorded.of(events.Started)) == 1


async def test_the_run_of_a_killed_worker_is_lost_and_another_worker_runs_it_again(
    broker: RedisServer, tmp_path: Path, eventually: Eventually
) -> None:
    job = holding("hold", path := tmp_path / "end", options={"queue": "mortal"}, retry={"attempts": 2, "delay": 0})
    first, second = (CeleryWorker(tmp_path / name, broker.url) for name in ("first", "second"))
    try:
        first.start("--queues=mortal", "--concurrency=1")
        config = {"heartbeat": Duration(seconds=2)}
        async with celery_kernel(broker.url, job, config=config) as kernel:
            run = await run_of(kernel, job.id)
            await has_begun(path, eventually)
            first.kill()
            found = await kernel.end_of(run)
            assert (found.status, found.reason) == ("failed", "lost")
            assert first.name in str(found.error_message)
            path.touch()
            second.start("--queues=mortal", "--concurrency=1")
            (again,) = [one for one in (await kernel.executions(ExecutionQuery())).items if one.retry_of == run]
            assert (await kernel.end_of(again.id)).worker == second.name
    finally:
        first.clean_up()
        second.clean_up()


MOVED = """
[kernel]
[plugins.sqlite]
path = "moved.db"
[plugins.celery]
broker = "{broker}"
[[jobs]]
id = "moved"
func = "worker_bodies:report_and_witness"
kwargs = {{ folder = "{folder}" }}
every = "50ms"
runner = "{runner}"
overlap = "{overlap}"
"""


@pytest.mark.parametrize("overlap", ["allow", "queue"])
async def test_a_job_moves_between_threads_and_workers_while_it_fires(
    broker: RedisServer, worker: CeleryWorker, tmp_path: Path, overlap: str, eventually: Eventually
) -> None:
    config = tmp_path / "gnomon.toml"
    values = {"broker": broker.url, "folder": tmp_path, "overlap": overlap}
    config.write_text(MOVED.format(runner="thread", **values))
    deployment = assemble(load_config(config, {}))
    async with (kernel := build_kernel(deployment)):
        reloader = Reloader(kernel, deployment.config)

        async def succeeded(runner: str) -> list[Execution]:
            page = await kernel.executions(ExecutionQuery(status=("success",), limit=500))
            return [one for one in page.items if one.runner == runner]

        for runner in ("celery", "thread") * 2:
            config.write_text(MOVED.format(runner=runner, **values))
            assert (await reloader.reload("test")).changed["moved"]["runner"] == runner
            before = len(await succeeded(runner))

            async def has_run(runner: str = runner, before: int = before) -> bool:
                return len(await succeeded(runner)) > before + 3

            await eventually(has_run)
        await kernel.hold(actor="test")

        async def is_over() -> bool:
            return not (await kernel.executions(ExecutionQuery(status=("scheduled", "running")))).items

        await eventually(is_over)
        runs = (await kernel.executions(ExecutionQuery(status=("scheduled", "running", "success", "failed")))).items
    assert {(run.status, run.error_message) for run in runs} == {("success", None)}
    began = [line.split()[0] for line in (tmp_path / "began").read_text().splitlines()]
    assert sorted(began) == sorted(run.id for run in runs)
    assert len(began) == len(set(began))
    assert check_interval(check_log(tmp_path / "moved.db"), "moved", Duration(milliseconds=50)) >= len(runs)


async def test_workers_and_queues_are_shown(broker: RedisServer, worker: CeleryWorker) -> None:
    async with celery_kernel(broker.url, body("add", options={"queue": "nobody"}, kwargs={"a": 1})) as kernel:
        await run_of(kernel, "add")
        plugin: Any = next(iter(kernel.plugins))
        runners: list[Any] = []
        plugin.contribute("register_runners", runners.append)
        view = await runners[0].workers()
    (shown,) = [one for one in view.workers if one.name == worker.name]
    assert (shown.state, shown.pool, shown.concurrency, shown.queues) == ("online", "prefork", 2, ["gnomon"])
    queues = {one.name: one for one in view.queues}
    assert (queues["gnomon"].workers, queues["gnomon"].length) == (1, 0)
    assert queues["nobody"].workers == 0
