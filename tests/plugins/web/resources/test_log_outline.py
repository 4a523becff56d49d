"""What can be folded in a log: the lines of steps, and lines that repeat those before them."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gnomon import Context, LogLine
from gnomon.clock import SystemClock
from gnomon.domain.progress import Step
from gnomon_web.resources.kept_logs import KeptLogs
from gnomon_web.resources.log_outline import LEAST_LINES, find_repeats, lines_of_steps, outline_of

AT = datetime(2026, 11, 29, 18, tzinfo=UTC)
CARETS = "    ^^^^^^^^"


def line(number: int, text: str, second: float = 0) -> LogLine:
    return LogLine(number, AT + timedelta(seconds=second), "info", text, "")


def frames(*names: str) -> list[str]:
    return [part for name in names for part in (f'  File "tree.py", line 7, in {name}', f"    {name}(node)", CARETS)]


def found(texts: list[str]) -> list[tuple[int, int, int, int]]:
    return [(one.first, one.last, one.period, one.times) for one in find_repeats(texts)]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], []),
        (["a"] * 4, []),  # three lines are not worth a fold
        (["a"] * 5, [(1, 4, 1, 4)]),
        (["x", *["a"] * 1000, "y"], [(2, 1000, 1, 999)]),
        (["a", "b"] * 3, [(2, 5, 2, 2)]),
        (["start", *frames("walk", "visit", "step") * 991, "RecursionError"], [(10, 8919, 9, 990)]),
        (["a"] * 6 + ["b"] * 6, [(1, 5, 1, 5), (7, 11, 1, 5)]),
        ([str(number) for number in range(50)], []),
        ([str(number) for number in range(61)] * 3, []),  # longer than what a reader recognises
    ],
)
def test_lines_that_repeat_those_before_them_are_found(texts: list[str], expected: list[Any]) -> None:
    assert found(texts) == expected


def test_whatever_is_hidden_can_be_read_in_the_lines_before() -> None:
    rolls = random.Random(20261129)
    hidden = 0
    for _ in range(300):
        texts: list[str] = []
        while len(texts) < 60:
            part = [rolls.choice("abc") for _ in range(rolls.randrange(1, 5))]
            texts += part * rolls.choice((1, 1, 2, 5))
        end = 0
        for one in find_repeats(texts):
            assert one.first >= max(end, one.period), "folds do not overlap, and something is before them"
            assert one.last - one.first + 1 == one.period * one.times >= LEAST_LINES
            assert all(texts[index] == texts[index - one.period] for index in range(one.first, one.last + 1))
            end = one.last + 1
            hidden += one.times
    assert hidden > 1000


def test_lines_belong_to_the_step_that_was_current() -> None:
    lines = [line(number, "text", second) for number, second in ((5, 0), (6, 1), (7, 2), (8, 2.5), (9, 4))]
    steps = [
        Step("never"),
        Step("load", started_at=AT + timedelta(seconds=1)),
        Step("silent", started_at=AT + timedelta(seconds=3)),
        Step("save", started_at=AT + timedelta(seconds=4)),
    ]

    told = [(one.name, one.first, one.last) for one in lines_of_steps(lines, steps)]

    assert told == [("load", 6, 8), ("save", 9, 9)]


def test_repeats_within_a_text_are_found() -> None:
    text = "\n".join(["Traceback", *frames("walk", "visit") * 20, "RecursionError"])

    outline = outline_of([line(3, "before"), line(4, text)], [])

    (one,) = outline.texts
    assert (one.number, [(part.first, part.last, part.period, part.times) for part in one.repeats]) == (
        4,
        [(7, 120, 6, 19)],
    )
    assert (outline.first, outline.last, outline.repeats, outline.is_cut) == (3, 4, [], False)


async def test_the_outline_of_a_run_is_that_of_what_is_kept(serve: Any) -> None:
    async def talks(ctx: Context) -> None:
        log = logging.getLogger("talks")
        ctx.step("load")
        for number in range(3):
            log.warning("row %d", number)
        ctx.step("save")
        for _ in range(100):
            log.warning("again")

    async with serve(talks, kernel={"clock": SystemClock()}) as ask:
        run = (await ask.kernel.trigger("talks")).execution.id
        await ask.kernel.wait(run)
        outline = (await ask("GET", f"/scheduler/executions/{run}/log/outline")).json
        unknown = await ask("GET", f"/scheduler/executions/{'0' * 24}/log/outline")
        page = (await ask("GET", f"/scheduler/executions/{run}/log?offset=101&limit=2&level=warning")).json

    assert outline["steps"] == [
        {"name": "load", "first": 1, "last": 3},
        {"name": "save", "first": 4, "last": 103},
    ]
    assert outline["repeats"] == [{"first": 5, "last": 103, "period": 1, "times": 99}]
    assert unknown.status == 404
    assert ([one["number"] for one in page["items"]], page["offset"]) == ([102, 103], 101)


class _Store:
    """A log that grows and loses its oldest lines; it counts what is read."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.read = 0

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        found = [one for one in self.lines if one.number > after][:limit]
        self.read += len(found)
        return found


async def test_a_log_in_memory_follows_the_store_and_reads_only_what_is_new() -> None:
    store, logs = _Store(), KeptLogs()
    store.lines = [line(number, "text") for number in range(1, 25_001)]
    kernel: Any = store

    assert await logs.of(kernel, "run") == store.lines
    read = store.read
    store.lines = store.lines[500:] + [line(number, "more") for number in range(25_001, 25_003)]

    assert await logs.of(kernel, "run") == store.lines
    assert store.read - read == 3
    store.lines = []
    assert await logs.of(kernel, "run") == []


async def test_few_logs_stay_in_memory() -> None:
    store, logs = _Store(), KeptLogs()
    store.lines = [line(number, "text") for number in range(1, 11)]
    kernel: Any = store
    for number in range(20):
        await logs.of(kernel, f"run {number}")
    read = store.read

    await logs.of(kernel, "run 19")
    recent = store.read - read
    await logs.of(kernel, "run 0")

    assert recent == 1
    assert store.read - read - recent == 11
