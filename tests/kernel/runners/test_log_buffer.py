"""Log lines of a run: whose they are, how many are kept, and the progress that is read from them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from gnomon import Execution, Job, Kernel
from gnomon.cli.output.logging_setup import configure_logging
from gnomon.domain.records import LogLine
from gnomon.jobs.job import ProgressPattern
from gnomon.runners.log_buffer import MAX_CHARACTERS, MAX_LINE_CHARACTERS, MAX_LINES, LogBuffer, ProgressReader
from gnomon.runners.log_capture import capture_record
from gnomon.stores.memory import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
logger = logging.getLogger("tests.bodies")


@pytest.fixture
async def kernel() -> AsyncIterator[Kernel]:
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.INFO)
    async with Kernel() as kernel:
        yield kernel
    logging.getLogger().setLevel(level)


async def run(kernel: Kernel, body: Any, **policies: Any) -> Execution:
    job = Job(id=body.__name__, func=body, **policies)
    await kernel.add_job(job, replace=True, temporary=True)
    return await kernel.wait((await kernel.trigger(job.id)).execution.id)


async def texts(kernel: Kernel, execution: Execution) -> list[str]:
    return [line.text for line in await kernel.log(execution.id)]


async def test_lines_of_async_and_thread_bodies_are_kept_with_their_own_run(kernel: Kernel) -> None:
    async def quick() -> None:
        logger.info("async %s", "one")
        await asyncio.sleep(0)
        structlog.get_logger().info("async two", number=2)

    def slow() -> None:
        logger.warning("thread")

    first, second = await asyncio.gather(run(kernel, quick), run(kernel, slow))
    logger.info("nobody's")

    assert await texts(kernel, first) == ["async one", "async two number=2"]
    assert await texts(kernel, second) == ["thread"]


@pytest.fixture(params=["as a library", "as gnomon run"])
def logging_is_restored(request: pytest.FixtureRequest) -> Iterator[None]:
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    structlog.reset_defaults()
    if request.param == "as gnomon run":
        configure_logging("info")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.configure(**config)


@pytest.mark.usefixtures("logging_is_restored")
@pytest.mark.parametrize(
    "reconfigure",
    [
        lambda: logging.basicConfig(force=True, handlers=[logging.NullHandler()], level=logging.INFO),
        logging.shutdown,
        lambda: logging.getLogger().handlers.clear(),  # noqa: PLW0108 - the list of that moment
        lambda: structlog.configure(processors=[drop]),
    ],
    ids=["basicConfig", "shutdown", "clear", "structlog"],
)
async def test_a_body_that_reconfigures_logging_takes_no_lines_from_others(
    kernel: Kernel, reconfigure: Callable[[], None]
) -> None:
    def body() -> None:
        logger.info("from logging")
        structlog.get_logger().info("from structlog")

    def reconfigures() -> None:
        reconfigure()
        body()

    own = await texts(kernel, await run(kernel, reconfigures))
    of_another = await texts(kernel, await run(kernel, body))

    assert own == of_another == ["from logging", "from structlog"]


def drop(*_: Any) -> str:
    raise structlog.DropEvent


async def test_lines_are_kept_once_where_a_process_has_several_kernels(kernel: Kernel) -> None:
    async def body() -> None:
        logger.info("from logging")
        structlog.get_logger().info("from structlog")

    async with Kernel() as other:
        both = [await texts(one, await run(one, body)) for one in (kernel, other)]
    alone = await texts(kernel, await run(kernel, body))

    assert [*both, alone] == [["from logging", "from structlog"]] * 3


async def test_lines_below_the_level_of_the_root_logger_are_not_kept(kernel: Kernel) -> None:
    def body() -> None:
        logger.debug("too small")
        logger.error("big")

    execution = await run(kernel, body)

    assert await texts(kernel, execution) == ["big"]


async def test_an_exception_is_named_in_its_line(kernel: Kernel) -> None:
    def body() -> None:
        try:
            raise ValueError("no good")
        except ValueError:
            logger.exception("it failed")

    execution = await run(kernel, body)

    assert await texts(kernel, execution) == ["it failed\nValueError: no good"]


async def test_a_record_that_cannot_be_formatted_breaks_nothing(kernel: Kernel) -> None:
    def body() -> None:
        # Ours alone: the handlers of others would print the broken record.
        capture_record(logging.makeLogRecord({"msg": "%d", "args": ("x",)}))

    execution = await run(kernel, body)

    assert execution.status == "success"
    assert await texts(kernel, execution) == ["%d"]


async def test_only_the_newest_lines_are_kept_and_their_numbers_tell_how_many_are_gone(kernel: Kernel) -> None:
    def body() -> None:
        for number in range(1, MAX_LINES + 101):
            logger.info("line %d", number)

    execution = await run(kernel, body)
    kept = await kernel.log(execution.id, limit=10 * MAX_LINES)

    assert len(kept) == MAX_LINES
    assert (kept[0].number, kept[0].text) == (101, "line 101")
    assert kept[-1].text == f"line {MAX_LINES + 100}"


async def test_a_deployment_decides_how_many_lines_are_kept() -> None:
    def body() -> None:
        for number in range(1, 3 * MAX_LINES + 1):
            logger.warning("line %d", number)

    for most, first in ((2 * MAX_LINES, MAX_LINES + 1), (10, 3 * MAX_LINES - 9)):
        async with Kernel(log_lines=most) as kernel:
            kept = await kernel.log((await run(kernel, body)).id, limit=10 * MAX_LINES)

        assert [line.number for line in kept] == list(range(first, 3 * MAX_LINES + 1))


async def test_who_asks_for_lines_waits_for_those_that_are_being_written() -> None:
    writing, may_go_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryStore):
        async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
            writing.set()
            await may_go_on.wait()
            await super().append_log(execution_id, lines, oldest)

    async def body() -> None:
        logger.warning("last words")

    async with Kernel(store=Slow()) as kernel:
        execution = await run(kernel, body)
        first = asyncio.create_task(texts(kernel, execution))
        await writing.wait()
        second = asyncio.create_task(texts(kernel, execution))
        for _ in range(10):
            await asyncio.sleep(0)
        may_go_on.set()

        assert list(await asyncio.gather(first, second)) == [["last words"]] * 2


def test_lines_are_bounded_in_size_one_by_one_and_together() -> None:
    log = LogBuffer()

    for _ in range(100):
        log.add(NOW, "info", "x" * (MAX_LINE_CHARACTERS * 2), "")

    lines, oldest = log.unflushed()
    assert sum(len(line.text) for line in lines) <= MAX_CHARACTERS
    assert "8192 characters left out" in lines[0].text
    assert oldest == lines[0].number > 1


def test_lines_that_the_store_did_not_take_are_offered_again() -> None:
    log = LogBuffer()
    log.add(NOW, "info", "one", "")
    first, _ = log.unflushed()

    log.add(NOW, "info", "two", "")
    again, _ = log.unflushed()
    log.mark_flushed(again)

    assert [line.text for line in first] == ["one"]
    assert [line.text for line in again] == ["one", "two"]
    assert log.unflushed()[0] == []


@pytest.mark.parametrize(
    ("pattern", "line", "expected"),
    [
        (ProgressPattern(r"(?P<percent>[\d.]+)% done"), "42.5% done", {"percent": 42.5}),
        (ProgressPattern("^Fetching", step="fetch"), "Fetching prices", {"step": "fetch"}),
        (
            ProgressPattern(r"row (?P<processed_items>[\d,]+) of (?P<total_items>[\d,]+)"),
            "row 1,000 of 20,000",
            {"processed_items": 1000, "total_items": 20000},
        ),
        (ProgressPattern("half", percent=50.0, message="halfway"), "half", {"percent": 50.0, "message": "halfway"}),
        (ProgressPattern("nothing of this"), "something else", {}),
        (ProgressPattern(r"(?P<percent>\w+)!"), "many!", {}),
    ],
)
def test_progress_is_read_from_lines(pattern: ProgressPattern, line: str, expected: dict[str, Any]) -> None:
    assert ProgressReader([pattern]).read(line) == expected


async def test_progress_patterns_work_for_the_lines_of_that_very_run(kernel: Kernel) -> None:
    patterns = [
        ProgressPattern(r"^(?P<step>fetch|store) begins"),
        ProgressPattern(r"(?P<percent>\d+)%"),
    ]

    def watched() -> None:
        logger.info("fetch begins")
        logger.info("10%%")
        logger.info("store begins")
        logger.info("60%%")

    def other() -> None:
        logger.info("99%")

    execution, bystander = await asyncio.gather(run(kernel, watched, progress_patterns=patterns), run(kernel, other))

    seen = [e.percent for e in await kernel.history(execution.id) if e.type == "progress" and hasattr(e, "percent")]
    assert [step.name for step in execution.progress.steps] == ["fetch", "store"]
    assert 60.0 in seen
    assert 99.0 not in seen
    assert bystander.progress.step is None
