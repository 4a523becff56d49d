"""The contract of a runner as tests: subclass RunnerContract, and provide your runner as a fixture.

    class TestMyRunner(RunnerContract):
        kinds = ("plain",)

        @pytest.fixture
        def runner(self):
            return MyRunner("some-host")

A runner whose bodies run elsewhere and outlive the kernel keeps RemoteRunnerContract. The bodies are in
`gnomon.testing.runner_bodies`, which the processes that run them import. Bodies and tests meet in the directory `here`.
The tests are coroutines: set `asyncio_mode = "auto"` for pytest-asyncio.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import pytest

from gnomon.domain.body_sample import MOST_FRAMES, MOST_STACKS
from gnomon.domain.workers import WorkerView
from gnomon.runners.base import DurableLog, Runner
from gnomon.runners.outcome import ERROR_LIMIT, VALUE_LIMIT
from gnomon.tasks import end
from gnomon.testing.report_contract import ReportContract
from gnomon.testing.runner_bench import Bench, ended, lines_of, on_bench
from gnomon.text import is_writable

NOBODY = "0" * 24
"""The id of a run that no runner has."""
SLACK = 3
"""How much longer than its limit a text may be: what replaces its middle, and a few bytes a character."""

RAISED = (
    "Custom",
    "Hostile",
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "ExceptionGroup",
    "BaseExceptionGroup",
)
"""What bodies raise, besides a ValueError."""

Kind = Literal["plain", "async"]


class RunnerContract(ReportContract):
    """The obligations of the Runner port. The attributes describe a kind of runner."""

    kinds: tuple[Kind, ...] = ("plain", "async")
    """The kinds of functions that the runner can run."""

    interrupts: tuple[Kind, ...] = ()
    """The kinds of functions that a cancellation stops even if they never call their context."""

    job_keys: ClassVar[dict[str, Any]] = {}
    """Keys of the jobs that are run, such as `options` that the runner needs."""

    is_remote = False

    @pytest.fixture
    def runner(self) -> Any:
        """Provide a runner that has not been used."""
        pytest.fail(f"{type(self).__name__} must override the fixture `runner`: return a runner that has not been used")

    @pytest.fixture
    def here(self, tmp_path: Path) -> Path:
        """Provide an empty directory that the bodies see under the same path."""
        return tmp_path

    @pytest.fixture(params=["plain", "async"])
    def suffix(self, request: pytest.FixtureRequest) -> str:
        """Return the end of the names of bodies of one kind."""
        if request.param not in self.kinds:
            pytest.skip(f"the runner runs no {request.param} functions")
        return "_async" if request.param == "async" else ""

    @pytest.fixture
    def one(self) -> str:
        """Return the end of the names of bodies for tests to which their kind makes no difference."""
        return "" if "plain" in self.kinds else "_async"

    def on_bench(self, runner: Runner, here: Path, log: DurableLog | None = None) -> Any:
        """Enter the lifespan of a runner, in place of a kernel."""
        return on_bench(runner, here, log, self.job_keys)

    @pytest.fixture
    async def bench(self, runner: Runner, here: Path) -> AsyncIterator[Bench]:
        """Provide the runner in its lifespan, which one task enters and leaves."""
        ready: asyncio.Future[Bench] = asyncio.get_running_loop().create_future()
        done = asyncio.Event()

        async def hold() -> None:
            try:
                async with self.on_bench(runner, here) as bench:
                    ready.set_result(bench)
                    await done.wait()
            except BaseException as exc:
                if ready.done():
                    raise
                ready.set_exception(exc)

        holding = asyncio.ensure_future(hold())
        yield await ready
        done.set()
        await holding

    async def test_the_runner_keeps_the_contract_of_its_kind(self, runner: Runner) -> None:
        assert runner.is_remote is self.is_remote, (
            "a remote runner keeps RemoteRunnerContract, and no other runner does"
        )

    # Values

    async def test_a_body_has_its_arguments_and_its_context(self, bench: Bench, suffix: str) -> None:
        run = bench.make_run(f"add{suffix}", a=40, c=-2)

        outcome = await bench.outcome(run)

        assert outcome.is_success, outcome
        assert outcome.value == {
            "sum": 40,
            "run": run.execution.id,
            "current": run.execution.id,
            "job": "contract",
            "time": run.execution.scheduled_time.isoformat(),
            "attempt": 1,
            "is_manual": True,
        }
        assert 0 <= outcome.execution_time < math.inf

    async def test_arguments_arrive_in_the_types_of_their_annotations(self, bench: Bench, one: str) -> None:
        outcome = await bench.outcome(bench.make_run(f"take_date{one}", day="2026-12-24"))

        assert (outcome.is_success, outcome.value) == (True, "date")

    @pytest.mark.parametrize(
        ("what", "value"),
        [("nothing", None), ("json", {"text": "naïve 日本 🦑\n\x00", "list": [1, 2.5, None, True]})],
    )
    async def test_a_value_that_is_json_is_returned_as_it_is(
        self, bench: Bench, one: str, what: str, value: Any
    ) -> None:
        outcome = await bench.outcome(bench.make_run(f"give{one}", what=what))

        assert (outcome.is_success, outcome.value) == (True, value)

    @pytest.mark.parametrize("what", ["object", "large", "surrogate", "deep"])
    async def test_any_other_value_becomes_json_of_a_bounded_size(self, bench: Bench, one: str, what: str) -> None:
        outcome = await bench.outcome(bench.make_run(f"give{one}", what=what))

        assert outcome.is_success, outcome
        assert outcome.value
        assert len(msgspec.json.encode(outcome.value)) <= SLACK * VALUE_LIMIT

    async def test_a_result_whose_code_has_not_run_is_an_error(self, bench: Bench, suffix: str) -> None:
        outcome = await bench.outcome(bench.make_run(f"give{suffix}", what="lazy"))

        assert (outcome.is_success, outcome.error_type) == (False, "TypeError")

    # Errors

    async def test_whatever_a_body_raises_is_an_outcome(self, bench: Bench, suffix: str) -> None:
        for how in RAISED:
            outcome = await bench.outcome(bench.make_run(f"fail{suffix}", how=how))

            assert (outcome.is_success, outcome.cancelled, outcome.reason) == (False, False, None), how
            assert (outcome.error_type or "").rpartition(".")[2] == how
            assert "in fail" in (outcome.traceback or ""), how
        assert (await bench.outcome(bench.make_run(f"add{suffix}", a=1))).is_success, "the next run"

    async def test_an_error_has_its_message(self, bench: Bench, one: str) -> None:
        outcome = await bench.outcome(bench.make_run(f"fail{one}", how="ValueError"))

        assert (outcome.error_type, outcome.error_message, outcome.value) == ("ValueError", "no good", None)

    @pytest.mark.parametrize("how", ["large", "surrogate"])
    async def test_texts_of_errors_are_bounded_and_can_be_stored(self, bench: Bench, one: str, how: str) -> None:
        outcome = await bench.outcome(bench.make_run(f"fail{one}", how=how))

        assert outcome.error_message
        assert len(outcome.error_message) <= SLACK * ERROR_LIMIT
        assert len(outcome.traceback or "") <= SLACK * VALUE_LIMIT
        assert is_writable(outcome.error_message)
        assert is_writable(outcome.traceback)

    async def test_an_argument_that_does_not_fit_is_the_error_of_its_run(self, bench: Bench, one: str) -> None:
        outcome = await bench.outcome(bench.make_run(f"take_date{one}", day="someday"))

        assert (outcome.is_success, outcome.cancelled) == (False, False)
        assert "day" in (outcome.error_message or "")

    async def test_a_snooze_has_its_delay_and_its_reason(self, bench: Bench, suffix: str) -> None:
        outcome = await bench.outcome(bench.make_run(f"snooze{suffix}"))

        assert (outcome.cancelled, outcome.error_type) == (True, None)
        assert outcome.snooze is not None
        assert (outcome.snooze.seconds, outcome.snooze.reason) == (600, "no file yet")

    # Cancellation

    async def test_a_body_that_is_cancelled_cleans_up(self, bench: Bench, suffix: str) -> None:
        run = bench.make_run(f"clean_up{suffix}", here=str(bench.here))
        task = bench.start(run)
        await bench.witnessed("body.begun")

        bench.cancel(run)
        outcome = await ended(task)

        assert (outcome.cancelled, outcome.is_success, outcome.snooze) == (True, False, None)
        assert bench.witnesses("body.cleaned") == [run.execution.id]

    async def test_a_body_that_is_cancelled_at_once_stops(self, bench: Bench, suffix: str) -> None:
        run = bench.make_run(f"clean_up{suffix}", here=str(bench.here))
        task = bench.start(run)
        await asyncio.sleep(0)

        bench.cancel(run)

        assert (await ended(task)).cancelled
        assert len(bench.witnesses("body.begun")) == len(bench.witnesses("body.cleaned"))

    async def test_a_body_that_ends_in_spite_of_a_request_has_its_value(self, bench: Bench, suffix: str) -> None:
        run = bench.make_run(f"finish_anyway{suffix}", here=str(bench.here))
        task = bench.start(run)
        await bench.witnessed("body.begun")

        bench.cancel(run)
        outcome = await ended(task)

        assert (outcome.value, outcome.is_success) == ("finished anyway", True)

    async def test_a_body_without_context_calls_stops_where_the_runner_can_stop_it(
        self, bench: Bench, suffix: str
    ) -> None:
        if ("async" if suffix else "plain") not in self.interrupts:
            pytest.skip("the runner cannot stop such a body")
        run = bench.make_run(f"ignore{suffix}", here=str(bench.here))
        task = bench.start(run)
        await bench.witnessed("body.begun")

        bench.cancel(run)

        assert (await ended(task)).cancelled

    async def test_a_cancellation_stops_one_run_and_no_other(self, bench: Bench, suffix: str) -> None:
        one, other = (bench.make_run(f"wait{suffix}", here=str(bench.here), name=name) for name in ("one", "other"))
        tasks = [bench.start(run) for run in (one, other)]
        await bench.witnessed("one.begun")
        await bench.witnessed("other.begun")

        bench.cancel(one)
        assert (await ended(tasks[0])).cancelled
        bench.cancel(one)
        bench.allow("other")

        assert (await ended(tasks[1])).value == "other has ended"

    async def test_a_cancellation_of_a_run_that_is_not_there_does_nothing(self, bench: Bench, one: str) -> None:
        run = bench.make_run(f"add{one}", a=1)
        for execution_id in (NOBODY, run.execution.id):
            bench.runner.cancel(execution_id)
            bench.runner.withdraw(execution_id)

        assert (await bench.outcome(bench.make_run(f"add{one}", a=1))).is_success
        ended_run = bench.make_run(f"add{one}", a=1)
        await bench.outcome(ended_run)
        bench.runner.cancel(ended_run.execution.id)
        bench.runner.withdraw(ended_run.execution.id)

        assert (await bench.outcome(bench.make_run(f"add{one}", a=1))).is_success

    # A look into a body

    async def test_a_look_into_a_body_finds_its_function_and_lets_it_go_on(self, bench: Bench, suffix: str) -> None:
        if type(bench.runner).sample is Runner.sample:
            pytest.skip("the runner does not look into bodies")
        run = bench.make_run(f"wait{suffix}", here=str(bench.here))
        task = bench.start(run)
        await bench.witnessed("body.begun")

        sample = await bench.runner.sample(run.execution.id)
        bench.allow()

        assert (await ended(task)).value == "body has ended"
        assert sample is not None
        assert sample.problem is None, sample
        assert 0 < len(sample.stacks) <= MOST_STACKS
        assert sample.stacks[0].frames[0].function == f"wait{suffix}"
        assert all(0 < len(stack.frames) <= MOST_FRAMES for stack in sample.stacks)
        for execution_id in (NOBODY, run.execution.id):
            assert await bench.runner.sample(execution_id) is None

    # Several runs, and a kernel that does not wait

    async def test_two_bodies_run_at_once_and_each_has_its_own_context(self, bench: Bench, suffix: str) -> None:
        runs = [bench.make_run(f"wait{suffix}", here=str(bench.here), name=name) for name in ("one", "other")]
        tasks = [bench.start(run) for run in runs]
        for name, run in zip(("one", "other"), runs, strict=True):
            assert await bench.witnessed(f"{name}.begun") == [run.execution.id]
        for name in ("one", "other"):
            bench.allow(name)

        outcomes = [await ended(task) for task in tasks]

        assert [outcome.value for outcome in outcomes] == ["one has ended", "other has ended"]
        for run in runs:
            texts = [line.text for line in lines_of(run) if line.logger == "gnomon.testing.bodies"]
            assert texts == ["waiting", "ending"]
            assert bench.reports.values(run.execution.id, "step") == ["waiting", "ending"]

    async def test_a_kernel_may_end_the_task_of_a_run(self, bench: Bench, suffix: str) -> None:
        run = bench.make_run(f"wait{suffix}", here=str(bench.here))
        task = bench.start(run)
        await bench.witnessed("body.begun")

        end(task)
        async with asyncio.timeout(60):
            await asyncio.wait((task,))
        bench.allow()

        if not task.cancelled():
            assert task.result().cancelled
        bench.runner.cancel(run.execution.id)
        assert (await bench.outcome(bench.make_run(f"add{suffix}", a=1))).is_success

    async def test_the_queue_and_the_workers_can_be_shown(self, bench: Bench) -> None:
        run = bench.make_run("add_async" if self.kinds == ("async",) else "add", a=1)
        view = await bench.runner.workers()

        assert isinstance(bench.runner.queue_of(run.job), str)
        assert view is None or isinstance(view, WorkerView)
