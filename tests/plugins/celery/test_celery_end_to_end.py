"""A kernel with real workers: what a job sees of having been moved to another process, which is its runner's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celery_kernels import celery_kernel, run_of, until
from celery_workers import CeleryWorker, has_lines
from gnomon import Job, JobError
from gnomon.stores.memory import MemoryStore
from servers import RedisServer, eventually, find_redis


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(find_redis(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.clean_up()


@pytest.fixture(scope="module")
def worker(broker: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryWorker]:
    worker = CeleryWorker(tmp_path_factory.mktemp("worker"), broker.url, more='heartbeat = "500ms"')
    try:
        worker.start("--pool=threads", "--concurrency=2")
        yield worker
        assert worker.stop() == 0
    finally:
        worker.clean_up()


def body(name: str, **keys: Any) -> Job:
    return Job(**{"id": name, "func": f"worker_bodies:{name}", "runner": "celery", **keys})


async def test_progress_lines_and_result_arrive_as_from_a_thread(broker: RedisServer, worker: CeleryWorker) -> None:
    async with celery_kernel(broker.url, body("talk")) as kernel:
        ended = await kernel.end_of(await run_of(kernel, "talk"))
        assert (ended.status, ended.worker, ended.runner) == ("success", worker.name, "celery")
        assert ended.progress.percent == 100
        assert [step.name for step in ended.progress.steps] == ["load", "save"]
        lines = [(line.level, line.text) for line in await kernel.log(ended.id)]
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
        ended = await kernel.end_of(await run_of(kernel, "order"))
        assert ended.status == "success", ended.traceback
        triggered = await kernel.end_of(ended.return_value)
        assert (triggered.return_value, triggered.triggered_by) == (3, ended.id)


async def test_a_body_adds_a_job(broker: RedisServer, worker: CeleryWorker) -> None:
    async with celery_kernel(broker.url, body("add_job")) as kernel:
        ended = await kernel.end_of(await run_of(kernel, "add_job"))
        assert ended.status == "success", ended.traceback
        assert "added" in {view.job.id for view in await kernel.jobs()}


async def test_a_cancelled_run_stops(broker: RedisServer, worker: CeleryWorker, tmp_path: Path) -> None:
    path = tmp_path / "never"
    async with celery_kernel(broker.url, body("hold_and_clean_up", kwargs={"path": str(path)})) as kernel:
        run = await run_of(kernel, "hold_and_clean_up")
        await until(kernel, run, eventually, lambda one: one.status == "running")
        await kernel.cancel(run, actor="anna")
        ended = await kernel.end_of(run)
        assert (ended.status, ended.cancelled_by) == ("cancelled", "anna")
    assert path.read_text().startswith("cleaned")


async def test_a_function_that_the_worker_does_not_have_is_unknown(
    broker: RedisServer, worker: CeleryWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_in_the_kernel.py").write_text("def f(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    job = Job(id="gone", func="only_in_the_kernel:f", runner="celery")
    async with celery_kernel(broker.url, job) as kernel:
        ended = await kernel.end_of(await run_of(kernel, "gone"))
        assert (ended.status, ended.reason) == ("failed", "unknown_function")
        assert worker.name in (ended.error_message or "")


async def test_a_result_that_is_too_large_is_cut_as_anywhere(broker: RedisServer, worker: CeleryWorker) -> None:
    async with celery_kernel(broker.url, body("huge")) as kernel:
        ended = await kernel.end_of(await run_of(kernel, "huge"))
        assert ended.status == "success"
        assert "characters left out" in ended.return_value
        assert len(ended.return_value) < 100_000


async def test_arguments_that_do_not_serialise_are_refused_before_anything_is_sent(
    broker: RedisServer, worker: CeleryWorker
) -> None:
    async with celery_kernel(broker.url, body("add", kwargs={"b": 1})) as kernel:
        with pytest.raises(JobError, match=r"must be JSON, .* kwargs\['a'\] is of type object"):
            await kernel.trigger("add", kwargs={"a": object()})


async def test_a_run_goes_on_while_no_kernel_is_there_and_the_next_one_has_its_result(
    broker: RedisServer, worker: CeleryWorker, tmp_path: Path
) -> None:
    path, store = tmp_path / "go", MemoryStore()
    job = body("talk_then_hold", kwargs={"path": str(path), "lines": 20})
    async with celery_kernel(broker.url, job, store=store) as kernel:
        run = await run_of(kernel, "talk_then_hold")
        await until(kernel, run, eventually, lambda one: one.status == "running")
        await eventually(lambda: has_lines(Path(f"{path}.began")))
    path.touch()
    async with celery_kernel(broker.url, job, store=store) as kernel:
        ended = await kernel.end_of(run)
        assert (ended.status, ended.return_value) == ("success", "held")
        assert ended.progress.processed_items == 20
        lines = [line.text for line in await kernel.log(run)]
    assert lines == [*(f"line {n}" for n in range(20)), "the end"]
