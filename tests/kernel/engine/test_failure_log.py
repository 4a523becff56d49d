"""Failed runs reach the logging of the program."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnomon import Context, Duration, Job, Kernel, Retry, SecretReference
from gnomon.clock import SystemClock
from gnomon.domain import events
from gnomon.domain.execution import begin
from gnomon.testing import VirtualClock

MakeKernel = Callable[..., Kernel]


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "gnomon.jobs"]


async def raises(text: str = "boom") -> None:
    raise ValueError(text)


def raises_in_thread() -> None:
    raise ValueError("boom")


async def finish(kernel: Kernel, job_id: str = "j") -> str:
    triggered = await kernel.trigger(job_id)
    return (await kernel.wait(triggered.execution.id)).id


@pytest.mark.parametrize("body", [raises, raises_in_thread])
async def test_a_body_that_raises_is_logged_with_its_exception_and_traceback(
    gnomon_kernel: MakeKernel, caplog: pytest.LogCaptureFixture, body: Callable[..., Any]
) -> None:
    async with gnomon_kernel(Job(id="j", func=body)) as kernel:
        execution_id = await finish(kernel)

    (record,) = records(caplog)
    assert record.getMessage() == f"job j failed: ValueError: boom (run {execution_id})"
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert f"in {body.__name__}" in caplog.text
    facts = {name: getattr(record, name) for name in ("job_id", "execution_id", "attempt", "reason")}
    assert facts == {"job_id": "j", "execution_id": execution_id, "attempt": 1, "reason": "exception"}


async def test_a_process_body_is_logged_with_the_traceback_of_its_process(
    gnomon_kernel: MakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    job = Job(id="j", func="json:loads", args=["no JSON"], runner="process")
    async with gnomon_kernel(job, clock=SystemClock()) as kernel:
        await finish(kernel)

    (record,) = records(caplog)
    assert record.exc_info is None
    assert "JSONDecodeError" in record.getMessage()
    assert "Traceback (most recent call last)" in caplog.text


async def test_a_failure_that_is_retried_is_a_warning_and_the_last_one_an_error(
    gnomon_kernel: MakeKernel, gnomon_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    job = Job(id="j", func=raises, retry=Retry(attempts=2, delay=Duration(seconds=1)))
    async with gnomon_kernel(job) as kernel:
        await finish(kernel)
        await gnomon_clock.advance(timedelta(seconds=2))

    found = [(record.levelname, record.getMessage().rpartition(", ")[2]) for record in records(caplog)]
    assert found == [("WARNING", "attempt 1 of 2)"), ("ERROR", "attempt 2 of 2)")]


async def test_a_snooze_does_not_count_as_an_attempt(
    gnomon_kernel: MakeKernel, gnomon_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(ctx: Context) -> None:
        if ctx.execution_id == first:
            ctx.snooze("1s")
        raise ValueError("boom")

    job = Job(id="j", func=body, retry=Retry(attempts=2, delay=Duration(seconds=1)))
    async with gnomon_kernel(job) as kernel:
        first = (await kernel.trigger("j")).execution.id
        await gnomon_clock.advance(timedelta(seconds=4))

    found = [(one.levelname, one.getMessage().rpartition(", ")[2], vars(one)["attempt"]) for one in records(caplog)]
    assert found == [("WARNING", "attempt 1 of 2)", 1), ("ERROR", "attempt 2 of 2)", 2)]


async def test_a_run_that_the_kernel_ends_is_logged_with_the_reason(
    gnomon_kernel: MakeKernel, gnomon_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with gnomon_kernel(Job(id="j", func=asyncio.Event().wait, timeout=Duration(seconds=5))) as kernel:
        await kernel.trigger("j")
        await gnomon_clock.advance(timedelta(seconds=20))

    (record,) = records(caplog)
    assert record.getMessage().startswith("job j failed: timeout: the run took longer than its timeout of 5s (run ")


async def test_a_run_that_died_with_an_earlier_kernel_is_logged(
    gnomon_kernel: MakeKernel, gnomon_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    now = gnomon_clock.now()
    stream = "0123456789abcdef01234567"
    facts: dict[str, Any] = {"stream": stream, "at": now, "node": "gone", "job_id": "j"}
    left = [
        events.Scheduled(version=1, scheduled_time=now, is_manual=True, **facts),
        events.Started(version=2, runner="async", worker="pid 1", delay=0.0, **facts),
    ]
    store = gnomon_kernel.keywords["store"]  # type: ignore[attr-defined]
    execution = begin(left[0])
    execution.apply(left[1])
    async with store:
        await store.append(
            [msgspec.structs.replace(event, position=n) for n, event in enumerate(left, 1)], [execution], []
        )

    async with gnomon_kernel(Job(id="j", func=raises)):
        pass

    (record,) = records(caplog)
    assert record.getMessage().startswith("job j failed: lost: the kernel that ran it (gone, pid 1) ended")


async def test_success_and_cancellation_are_not_logged(
    gnomon_kernel: MakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    async with gnomon_kernel(
        Job(id="j", func=asyncio.sleep, args=[0]), Job(id="k", func=asyncio.Event().wait)
    ) as kernel:
        await finish(kernel)
        waiting = await kernel.trigger("k")
        await kernel.cancel(waiting.execution.id)
        await kernel.wait(waiting.execution.id)

    assert not records(caplog)


async def test_a_program_can_turn_the_records_off(gnomon_kernel: MakeKernel, caplog: pytest.LogCaptureFixture) -> None:
    async with gnomon_kernel(Job(id="j", func=raises), log_failures=False) as kernel:
        await finish(kernel)

    assert not records(caplog)


async def test_a_secret_of_the_run_is_in_neither_text_nor_exception(
    gnomon_kernel: MakeKernel, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("hunter2-hunter2")
    job = Job(id="j", func=raises, kwargs={"text": SecretReference(file=str(tmp_path / "secret"))})
    async with gnomon_kernel(job) as kernel:
        await finish(kernel)

    (record,) = records(caplog)
    assert record.exc_info is None
    assert "hunter2" not in caplog.text
    assert "ValueError: ***" in caplog.text


async def test_a_handler_that_raises_breaks_nothing(gnomon_kernel: MakeKernel) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit(3)

    logger, broken = logging.getLogger("gnomon.jobs"), Broken()
    logger.addHandler(broken)
    try:
        async with gnomon_kernel(Job(id="j", func=raises)) as kernel:
            execution = await kernel.execution(await finish(kernel))
    finally:
        logger.removeHandler(broken)

    assert execution.status == "failed"
