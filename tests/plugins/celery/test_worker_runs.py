"""What a body finds in a Celery worker, in each of its pools: the same as everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest

from celery_workers import CeleryWorker, KernelEnd, has_lines, until
from gnomon.api import Triggered
from gnomon.domain.secret_references import SecretReference
from gnomon.runners.orders import AddJobOrder, OrderFailure, TriggerOrder
from gnomon_celery.channel import WITHDRAWN
from gnomon_celery.messages import PROTOCOL, Alive, Answered, Begun
from servers import RedisServer, find_redis

SECRET = "correct horse battery"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(find_redis(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.clean_up()


@pytest.fixture(scope="module", params=["prefork", "threads", "solo"])
def worker(
    request: pytest.FixtureRequest, broker: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryWorker]:
    """Provide one worker of each pool for all tests of this module."""
    worker = CeleryWorker(tmp_path_factory.mktemp("worker"), broker.url, more='heartbeat = "500ms"')
    worker.pool = request.param
    try:
        worker.start(f"--pool={request.param}", "--concurrency=2", environ={"WORKER_SECRET": SECRET})
        yield worker
        assert worker.stop() == 0
    finally:
        worker.clean_up()


@pytest.fixture
def kernel(worker: CeleryWorker, broker: RedisServer) -> Iterator[KernelEnd]:
    kernel = KernelEnd(broker.url)
    yield kernel
    kernel.close()


@pytest.mark.parametrize("func", ["add", "add_later"])
def test_a_plain_and_an_async_body_return_their_results(kernel: KernelEnd, worker: CeleryWorker, func: str) -> None:
    before = datetime.now(UTC)
    ended = kernel.run(func, {"a": 1, "b": 2})
    begun = kernel.begun(ended.id)
    assert (ended.value, ended.error_type, ended.cancelled, ended.reason) == (3, None, False, None)
    assert (begun.n, begun.worker) == (1, worker.name)
    assert before <= begun.at <= datetime.now(UTC)


def test_a_body_gets_its_context(kernel: KernelEnd) -> None:
    ended = kernel.run("describe")
    assert ended.value == {"id": ended.id, "job": "job", "same": True, "attempt": 1}


def test_arguments_have_the_types_of_the_annotations(kernel: KernelEnd) -> None:
    assert kernel.run("weekday", {"day": "2026-11-29"}).value == "date Sunday"


def test_steps_progress_and_all_kinds_of_lines_are_reported_in_order(kernel: KernelEnd) -> None:
    ended = kernel.run("talk")
    assert kernel.lines(ended.id) == [
        ("info", "loading 3 rows", "loader"),
        ("warning", "slow seconds=2", ""),
        ("stdout", "printed 1 2", "stdout"),
        ("stderr", "an error", "stderr"),
        ("stdout", "no end of line", "stdout"),
    ]
    steps, load, save, progress = kernel.reports(ended.id)
    assert [step.name for step in steps["steps"]] == ["load", "save"]
    assert (load, save) == ({"step": "load"}, {"step": "save"})
    assert progress == {"message": "almost", "percent": 99.0}


def test_a_secret_is_read_in_the_worker_and_hidden_in_all_that_it_reports(
    kernel: KernelEnd, worker: CeleryWorker
) -> None:
    ended = kernel.run("show_secret", {"password": SecretReference(env="WORKER_SECRET").as_json()})
    assert ended.value == "logged in with ***"
    assert [text for _, text, _ in kernel.lines(ended.id)] == ["the password is ***", "using ***"]
    assert all(SECRET not in repr(message) for message in kernel.messages)


def test_a_secret_that_the_worker_does_not_have_ends_the_run(kernel: KernelEnd) -> None:
    ended = kernel.run("show_secret", {"password": SecretReference(env="NOT_HERE").as_json()})
    assert ended.error_type == "gnomon.errors.SecretError"
    assert "NOT_HERE is not set" in (ended.error_message or "")


def test_an_exception_is_reported_with_its_traceback(kernel: KernelEnd) -> None:
    ended = kernel.run("fail")
    assert (ended.error_type, ended.error_message, ended.cancelled) == ("ValueError", "no rows", False)
    assert "worker_bodies.py" in (ended.traceback or "")


def test_a_body_that_exits_ends_its_run_and_not_the_worker(kernel: KernelEnd) -> None:
    assert kernel.run("leave").error_type == "SystemExit"
    assert kernel.run("add", {"a": 1}).value == 1


def test_a_large_result_is_cut(kernel: KernelEnd) -> None:
    assert len(kernel.run("huge").value) < 100_000


def test_a_body_can_put_itself_off(kernel: KernelEnd) -> None:
    ended = kernel.run("put_off")
    assert ended.snooze is not None
    assert (ended.snooze.seconds, ended.snooze.reason, ended.cancelled) == (60.0, "not yet", True)


def test_a_process_that_a_body_forks_does_not_go_on_as_a_worker(kernel: KernelEnd) -> None:
    ended = kernel.run("fork")
    assert ended.value == "parent of a child that exited with 0"


# --- what cannot be run ---


@pytest.mark.parametrize(
    ("func", "problem"),
    [
        ("nowhere:f", "there is no module 'nowhere'"),
        ("worker_bodies:ad", "worker_bodies has no 'ad'"),
        ("broken_import:f", "broken_import"),
    ],
)
def test_a_function_that_the_worker_cannot_import_is_unknown(
    kernel: KernelEnd, worker: CeleryWorker, func: str, problem: str
) -> None:
    ended = kernel.run("add", func=func)
    assert ended.reason == "unknown_function"
    assert f"the worker {worker.name} cannot import the function of the job" in (ended.error_message or "")
    assert problem in (ended.error_message or "")


def test_arguments_that_do_not_fit_the_function_of_the_worker_are_a_failure(kernel: KernelEnd) -> None:
    ended = kernel.run("add", {"c": 1})
    assert ended.reason is None
    assert "cannot be called with" in (ended.error_message or "")


def test_a_worker_that_is_older_than_the_kernel_ends_the_run_with_advice(
    kernel: KernelEnd, worker: CeleryWorker
) -> None:
    assignment = kernel.assignment("add", {"a": 1})
    newer = msgspec.to_builtins(assignment) | {"protocol": PROTOCOL + 1, "timeout": {"after": "1h"}}
    kernel.app.send_task("gnomon.run", kwargs={"assignment": msgspec.json.encode(newer).decode()}, queue="gnomon")
    ended = kernel.ended(assignment.execution.id)
    assert f"the worker {worker.name} speaks version {PROTOCOL} of the protocol" in (ended.error_message or "")


# --- at most one beginning ---


def test_a_message_that_comes_twice_begins_one_body(kernel: KernelEnd, tmp_path: Path) -> None:
    path = tmp_path / "witness"
    assignment = kernel.assignment("witness", {"path": str(path)})
    for _ in range(3):
        kernel.send(assignment)
    kernel.ended(assignment.execution.id)
    kernel.run("add", {"a": 1})  # so that the copies have been taken
    kernel.run("add", {"a": 1})
    assert len(path.read_text().splitlines()) == 1
    assert len(kernel.of(assignment.execution.id, Begun)) == 1


def test_a_run_that_its_kernel_has_withdrawn_does_not_begin(kernel: KernelEnd, tmp_path: Path) -> None:
    path = tmp_path / "witness"
    assignment = kernel.assignment("witness", {"path": str(path)})
    kernel.redis.set(kernel.channel.claim(assignment.execution.id), WITHDRAWN)
    kernel.send(assignment)
    kernel.run("add", {"a": 1})
    kernel.run("add", {"a": 1})
    assert not path.exists()
    assert not kernel.of(assignment.execution.id, Begun)


# --- stopping ---


def test_a_cancelled_body_stops_at_its_next_context_call(kernel: KernelEnd, tmp_path: Path) -> None:
    path = tmp_path / "never"
    run = kernel.send(kernel.assignment("hold_and_clean_up", {"path": str(path)}))
    until(lambda: has_lines(Path(f"{path}.began")), "the body to begin")
    kernel.cancel(run)
    ended = kernel.ended(run)
    assert (ended.cancelled, ended.error_type) == (True, "gnomon.RunCancelled")
    assert path.read_text().startswith("cleaned")
    assert kernel.redis.hlen(kernel.channel.cancel) == 0


def test_a_cancelled_async_body_is_cancelled_as_a_task(kernel: KernelEnd, tmp_path: Path) -> None:
    path = tmp_path / "never"
    run = kernel.send(kernel.assignment("hold_async", {"path": str(path)}))
    until(lambda: has_lines(Path(f"{path}.began")), "the body to begin")
    kernel.cancel(run)
    assert kernel.ended(run).cancelled
    assert path.read_text().startswith("cancelled")


def test_a_cancellation_that_arrives_before_the_claim_stops_the_body(kernel: KernelEnd, tmp_path: Path) -> None:
    assignment = kernel.assignment("hold", {"path": str(tmp_path / "never")})
    kernel.cancel(assignment.execution.id)
    assert kernel.ended(kernel.send(assignment)).cancelled


@pytest.mark.parametrize("func", ["hold", "hold_async"])
def test_the_worker_enforces_a_timeout_while_no_kernel_does(kernel: KernelEnd, tmp_path: Path, func: str) -> None:
    ended = kernel.run(func, {"path": str(tmp_path / "never")}, timeout=0.2)
    assert (ended.reason, ended.cancelled) == ("timeout", False)
    assert ended.error_message == "the run took longer than its timeout of 0.2 s"


def test_the_worker_ends_a_silent_body_while_no_kernel_does(kernel: KernelEnd, tmp_path: Path) -> None:
    ended = kernel.run("hold_async", {"path": str(tmp_path / "never")}, silence=0.2)
    assert ended.reason == "silence"
    assert ended.error_message == "the run gave no sign of life for 0.2 s"


def test_a_body_with_context_calls_is_not_silent_and_shows_that_it_is_alive(kernel: KernelEnd, tmp_path: Path) -> None:
    path = tmp_path / "go"
    run = kernel.send(kernel.assignment("hold", {"path": str(path)}, silence=4.0))
    until(lambda: len(kernel.of(run, Alive)) >= 2, "two signs of life")
    path.touch()
    assert kernel.ended(run).error_type is None


def test_a_running_body_is_in_the_heartbeats_until_it_has_ended(kernel: KernelEnd, tmp_path: Path) -> None:
    path = tmp_path / "go"
    run = kernel.send(kernel.assignment("hold", {"path": str(path)}))
    first = until(lambda: kernel.redis.zscore(kernel.channel.alive, run), "the first heartbeat")
    until(lambda: (kernel.redis.zscore(kernel.channel.alive, run) or 0) > first, "the next heartbeat")
    path.touch()
    kernel.ended(run)
    assert kernel.redis.zscore(kernel.channel.alive, run) is None


# --- orders ---


@pytest.mark.parametrize("func", ["order", "order_later"])
def test_a_body_triggers_a_job_and_waits_for_the_answer(kernel: KernelEnd, func: str) -> None:
    run = kernel.send(kernel.assignment(func))
    ordered = kernel.ordered(run)
    assert isinstance(ordered.order, TriggerOrder)
    assert (ordered.order.job_id, ordered.order.kwargs) == ("other", {"a": 1})
    execution = kernel.assignment("add").execution
    result = msgspec.to_builtins(Triggered(execution=execution, resumed=False, is_new=True))
    kernel.answer(run, Answered(number=ordered.number, result=result))
    assert kernel.ended(run).value == execution.id
    key = kernel.channel.answer(run, ordered.number)  # a body may give very many orders
    until(lambda: not kernel.redis.exists(key), "the answer to be dropped")


@pytest.mark.parametrize("func", ["order", "order_later"])
def test_the_error_of_an_order_is_raised_in_the_body(kernel: KernelEnd, func: str) -> None:
    run = kernel.send(kernel.assignment(func))
    failure = OrderFailure("UnknownJobError", "there is no job 'other'")
    kernel.answer(run, Answered(number=kernel.ordered(run).number, failure=failure))
    ended = kernel.ended(run)
    assert ended.error_message == "there is no job 'other'"
    assert "UnknownJobError" in (ended.error_type or "")


@pytest.mark.parametrize("func", ["order", "order_later"])
def test_a_body_that_waits_for_an_answer_can_be_cancelled(kernel: KernelEnd, func: str) -> None:
    run = kernel.send(kernel.assignment(func))
    kernel.ordered(run)
    kernel.cancel(run)
    assert kernel.ended(run).cancelled


def test_a_body_that_waits_for_an_answer_is_not_silent(kernel: KernelEnd) -> None:
    run = kernel.send(kernel.assignment("order", silence=0.2))
    ordered = kernel.ordered(run)
    first = until(lambda: kernel.redis.zscore(kernel.channel.alive, run), "a heartbeat")
    until(lambda: (kernel.redis.zscore(kernel.channel.alive, run) or 0) > first + 400, "more than its silence to pass")
    kernel.answer(run, Answered(number=ordered.number, failure=OrderFailure("JobError", "no")))
    assert kernel.ended(run).reason is None


def test_a_body_adds_a_job(kernel: KernelEnd) -> None:
    run = kernel.send(kernel.assignment("add_job"))
    ordered = kernel.ordered(run)
    assert isinstance(ordered.order, AddJobOrder)
    assert (ordered.order.job["id"], ordered.order.job["func"]) == ("added", "worker_bodies:add")
    kernel.answer(run, Answered(number=ordered.number, result=ordered.order.job))
    assert "added" in kernel.ended(run).value


# --- the worker itself ---


def test_a_worker_says_what_it_is(kernel: KernelEnd, worker: CeleryWorker) -> None:
    info = worker.info()
    assert info is not None
    assert (info.name, info.pid, info.queues, info.state) == (worker.name, worker.pid, ["gnomon"], "online")
    assert (info.pool, info.concurrency) == (worker.pool, 1 if worker.pool == "solo" else 2)
    assert {"python", "celery", "gnomon", "protocol"} <= info.versions.keys()


def test_a_worker_shows_the_version_of_the_code_that_it_has_run(kernel: KernelEnd, worker: CeleryWorker) -> None:
    ended = kernel.run("", func="kombu.utils.uuid:uuid")
    assert kernel.begun(ended.id).code == f"kombu {version('kombu')}"
    until(lambda: (info := worker.info()) is not None and "kombu" in info.versions, "the next heartbeat of the worker")
