"""The contract of a runner whose bodies run elsewhere and outlive the kernel: RunnerContract, and what follows from it.

    class TestMyRunner(RemoteRunnerContract):
        @pytest.fixture
        def runner(self, my_workers):
            return MyRunner(my_workers.address)

        def another(self, runner):
            return MyRunner(runner.address)

Workers run during each test, with `places` for bodies that run at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gnomon.runners.base import Run, Runner
from gnomon.testing.runner_bench import (
    BODIES,
    KNOWN_JOB,
    Bench,
    ended,
    lines_of,
    log_of_bench,
    new_sign_of_life,
    within_patience,
)
from gnomon.testing.runner_contract import NOBODY, RunnerContract

MOMENT_S = 0.2
"""Seconds in which a run is probably in its queue; the tests hold also where it is not."""


class Terms:
    """The kernels of one log, one after the other: the first has the runner, and each other one another."""

    def __init__(self, contract: RemoteRunnerContract, runner: Runner, here: Path) -> None:
        self._contract = contract
        self._runner = runner
        self._here = here
        self._log_id = log_of_bench().log_id
        self._is_first = True

    @contextlib.asynccontextmanager
    async def kernel(self, *, keeps: bool = True) -> AsyncIterator[Bench]:
        """Run the next kernel; with `keeps` false its store is away, and nothing becomes durable."""
        runner = self._runner if self._is_first else self._contract.another(self._runner)
        self._is_first = False
        async with self._contract.on_bench(runner, self._here, log_of_bench(self._log_id, keeps=keeps)) as bench:
            yield bench

    async def left(self, body: str, /, **kwargs: Any) -> Run:
        """Run a kernel that stops when the body has begun; return the run."""
        async with self.kernel() as bench:
            return await self.begun(bench, body, **kwargs)

    async def begun(self, bench: Bench, body: str, /, **kwargs: Any) -> Run:
        """Start a body, and wait until the kernel knows that it has begun."""
        run = bench.make_run(body, here=str(self._here), **kwargs)
        bench.start(run)
        await bench.begun(run)
        return run


_busy = itertools.count()


class RemoteRunnerContract(RunnerContract):
    """The obligations of a runner with `is_remote`."""

    is_remote = True

    places = 2
    """How many bodies the workers run at once, at least two."""

    def another(self, runner: Runner) -> Runner:  # noqa: ARG002 - for subclasses
        """Return a second runner for the same workers, as the next kernel has it."""
        pytest.fail(f"{type(self).__name__} must override `another`: return a second runner for the same workers")

    @pytest.fixture
    def terms(self, runner: Runner, here: Path) -> Terms:
        """Provide the kernels of a new log."""
        return Terms(self, runner, here)

    @contextlib.asynccontextmanager
    async def occupied(self, bench: Bench, one: str) -> AsyncIterator[list[Run]]:
        """Occupy all places of the workers with bodies, so that no other one begins."""
        names = [f"busy{next(_busy)}" for _ in range(self.places)]
        runs = [bench.make_run(f"wait{one}", here=str(bench.here), name=name) for name in names]
        tasks = [bench.start(run) for run in runs]
        for run in runs:
            await bench.begun(run)
        yield runs
        if not bench.is_over:
            self.free(bench, runs)
            for task in tasks:
                assert (await ended(task)).is_success

    def free(self, bench: Bench, runs: list[Run]) -> None:
        """Allow the bodies to end that occupy all places."""
        for run in runs:
            bench.allow(run.execution.kwargs["name"])

    async def no_message_is_left(self, bench: Bench, one: str) -> None:
        """Wait until every message that was sent before has had its turn: later ones have all places at once."""
        async with self.occupied(bench, one):
            pass

    # The beginning

    async def test_a_runner_reports_that_a_body_has_begun_and_where(self, bench: Bench, suffix: str) -> None:
        run = bench.make_run(f"wait{suffix}", here=str(bench.here))
        task = bench.start(run)

        await bench.begun(run)  # before it ends
        bench.allow()
        outcome = await ended(task)

        assert outcome.value == "body has ended"
        begun = bench.placed[run.execution.id].begun_by
        assert {worker for worker, _ in begun} == {begun[0][0]}
        assert begun[0][0]
        assert all(at.tzinfo is not None for _, at in begun)
        assert bench.witnesses("body.begun") == [run.execution.id]

    async def test_a_body_that_the_worker_cannot_import_fails_with_a_reason(self, bench: Bench, one: str) -> None:
        run = bench.make_run(f"add{one}", a=1)
        unknown = f"{BODIES}:no_such_function"

        outcome = await bench.outcome(replace(run, body=replace(run.body, child_target=unknown)))

        assert (outcome.is_success, outcome.cancelled, outcome.reason) == (False, False, "unknown_function")
        assert "no_such_function" in (outcome.error_message or "")
        assert (await bench.outcome(bench.make_run(f"add{one}", a=1))).is_success

    async def test_the_workers_and_the_queue_of_a_job_are_listed(self, bench: Bench, one: str) -> None:
        run = bench.make_run(f"wait{one}", here=str(bench.here))
        task = bench.start(run)
        await bench.begun(run)
        queue = bench.runner.queue_of(run.job)

        view = await bench.runner.workers()
        bench.allow()
        await ended(task)

        assert view is not None
        assert any(worker.state == "online" and queue in worker.queues for worker in view.workers), view
        assert any(one.name == queue and one.workers > 0 for one in view.queues), view
        assert {at.tzinfo is None for worker in view.workers if (at := worker.seen) is not None} <= {False}

    # Before the beginning

    @pytest.mark.parametrize("how", ["withdraw", "cancel"])
    @pytest.mark.parametrize("is_sent", [False, True])
    async def test_a_body_that_is_withdrawn_never_begins(
        self, bench: Bench, one: str, how: str, *, is_sent: bool
    ) -> None:
        async with self.occupied(bench, one):
            run = bench.make_run(f"wait{one}", here=str(bench.here), name="late")
            task = bench.start(run)
            await asyncio.sleep(MOMENT_S if is_sent else 0)

            if how == "cancel":
                bench.cancel(run)
            else:
                bench.runner.withdraw(run.execution.id)
            outcome = await ended(task)
            bench.runner.withdraw(run.execution.id)

        assert (outcome.cancelled, outcome.is_success, outcome.snooze) == (True, False, None)
        await self.no_message_is_left(bench, one)
        assert bench.placed[run.execution.id].begun_by == []
        assert bench.witnesses("late.begun") == []

    async def test_a_body_that_has_begun_is_not_withdrawn(self, bench: Bench, one: str) -> None:
        run = bench.make_run(f"wait{one}", here=str(bench.here))
        task = bench.start(run)
        await bench.witnessed("body.begun")

        bench.runner.withdraw(run.execution.id)
        bench.allow()

        assert (await ended(task)).value == "body has ended"
        assert bench.placed[run.execution.id].begun_by

    # The next kernel

    @pytest.mark.parametrize("keeps", [True, False])
    async def test_a_body_goes_on_when_its_kernel_stops_and_is_adopted_by_the_next_one(
        self, terms: Terms, one: str, *, keeps: bool
    ) -> None:
        async with terms.kernel(keeps=keeps) as first:
            run = await terms.begun(first, f"wait{one}")
            before = await within_patience(lambda: lines_of(run))

        async with terms.kernel() as second:
            assert second.runner.adopt(run.execution)
            again = second.adopt(run)
            task = second.start(again)
            await asyncio.sleep(MOMENT_S)
            second.allow()
            outcome = await ended(task)
            await self.no_message_is_left(second, one)

        assert outcome.value == "body has ended"
        assert second.witnesses("body.begun") == second.witnesses("body.ended") == [run.execution.id]
        texts = [line.text for line in (*before, *lines_of(again)) if line.logger == "gnomon.testing.bodies"]
        assert texts == ["waiting", "ending"]
        steps = [bench.reports.values(run.execution.id, "step") for bench in (first, second)]
        assert list(dict.fromkeys(step for found in steps for step in found)) == ["waiting", "ending"]

    async def test_the_end_of_a_body_waits_for_the_next_kernel(self, terms: Terms, suffix: str) -> None:
        async with terms.kernel() as first:
            run = await terms.begun(first, f"wait{suffix}")
        first.allow()
        await first.witnessed("body.ended")

        async with terms.kernel() as second:
            outcome = await second.outcome(second.adopt(run))
            await self.no_message_is_left(second, suffix)

        assert outcome.value == "body has ended"
        assert second.witnesses("body.begun") == [run.execution.id]

    async def test_runs_that_have_not_begun_are_adopted_and_begin_once(self, terms: Terms, one: str) -> None:
        async with terms.kernel() as first, self.occupied(first, one) as busy:
            late = first.make_run(f"wait{one}", here=str(first.here), name="late")
            first.start(late)
            await asyncio.sleep(MOMENT_S)
            await first.leave()

        async with terms.kernel() as second:
            assert all(second.runner.adopt(run.execution) for run in (*busy, late))
            tasks = [second.start(second.adopt(run)) for run in (*busy, late)]
            self.free(second, busy)
            second.allow("late")
            outcomes = [await ended(task) for task in tasks]
            await self.no_message_is_left(second, one)

        assert all(outcome.is_success for outcome in outcomes), outcomes
        assert second.placed[late.execution.id].begun_by
        assert second.witnesses("late.begun") == [late.execution.id]

    async def test_a_run_that_was_never_sent_is_adopted_and_begins(self, bench: Bench, one: str) -> None:
        run = bench.make_run(f"wait{one}", here=str(bench.here), is_adopted=True)
        bench.allow()

        assert bench.runner.adopt(run.execution)
        outcome = await bench.outcome(run)
        await self.no_message_is_left(bench, one)

        assert outcome.value == "body has ended"
        assert bench.placed[run.execution.id].begun_by
        assert bench.witnesses("body.begun") == [run.execution.id]

    async def test_an_end_that_is_not_durable_yet_is_there_for_the_next_kernel(self, terms: Terms, suffix: str) -> None:
        async with terms.kernel(keeps=False) as first:
            run = first.make_run(f"wait{suffix}", here=str(first.here))
            first.allow()
            outcome = await first.outcome(run)
            failed = first.make_run(f"fail{suffix}", how="ValueError")
            assert (await first.outcome(failed)).error_message == "no good"

        async with terms.kernel() as second:
            again = await second.outcome(second.adopt(run))
            failed_again = await second.outcome(second.adopt(failed))
            await self.no_message_is_left(second, suffix)

        assert outcome.value == again.value == "body has ended"
        assert failed_again.error_message == "no good"
        assert second.witnesses("body.begun") == [run.execution.id]

    async def test_an_adopted_body_can_be_cancelled(self, terms: Terms, suffix: str) -> None:
        async with terms.kernel() as first:
            run = await terms.begun(first, f"clean_up{suffix}")
            await first.witnessed("body.begun")

        async with terms.kernel() as second:
            again = second.adopt(run)
            task = second.start(again)
            await asyncio.sleep(0)
            second.cancel(again)
            outcome = await ended(task)

        assert outcome.cancelled
        assert second.witnesses("body.cleaned") == [run.execution.id]

    async def test_an_adopted_run_that_has_not_begun_can_be_withdrawn(self, terms: Terms, one: str) -> None:
        async with terms.kernel() as first, self.occupied(first, one) as busy:
            late = first.make_run(f"wait{one}", here=str(first.here), name="late")
            first.start(late)
            await asyncio.sleep(MOMENT_S)
            await first.leave()

        async with terms.kernel() as second:
            tasks = [second.start(second.adopt(run)) for run in busy]
            task = second.start(second.adopt(late))
            await asyncio.sleep(0)
            second.runner.withdraw(late.execution.id)
            outcome = await ended(task)
            self.free(second, busy)
            for busy_task in tasks:
                assert (await ended(busy_task)).is_success
            await self.no_message_is_left(second, one)

        assert outcome.cancelled
        assert second.witnesses("late.begun") == []

    async def test_an_order_that_is_given_while_no_kernel_runs_is_answered_by_the_next_one(
        self, terms: Terms, suffix: str
    ) -> None:
        async with terms.kernel() as first:
            run = await terms.begun(first, f"trigger_later{suffix}", job=KNOWN_JOB)
        first.allow()
        await first.witnessed("body.ended")

        async with terms.kernel() as second:
            outcome = await second.outcome(second.adopt(run))

        assert len(first.reports.orders) + len(second.reports.orders) == 1
        assert len(outcome.value or "") == 24, outcome

    async def test_an_order_that_was_answered_has_no_second_effect_under_the_next_kernel(
        self, terms: Terms, suffix: str
    ) -> None:
        async with terms.kernel(keeps=False) as first:
            run = await terms.begun(first, f"trigger_first{suffix}", job=KNOWN_JOB)
            await first.witnessed("body.begun")

        async with terms.kernel() as second:
            second.allow()
            outcome = await second.outcome(second.adopt(run))

        assert len(outcome.value or "") == 24, outcome
        orders = [*first.reports.orders, *second.reports.orders]
        assert len({order.options.get("idempotency_key", number) for number, order in enumerate(orders)}) == 1, orders

    async def test_what_comes_of_runs_that_no_kernel_adopts_harms_no_other_run(self, terms: Terms, one: str) -> None:
        run = await terms.left(f"wait{one}")

        async with terms.kernel() as second:
            second.allow()
            await second.witnessed("body.ended")
            for _ in range(2):
                assert (await second.outcome(second.make_run(f"add{one}", a=1))).is_success
            for execution_id in (NOBODY, run.execution.id):
                second.runner.cancel(execution_id)
                second.runner.withdraw(execution_id)

            assert (await second.outcome(second.make_run(f"report{one}"))).is_success

    async def test_a_body_outlives_several_kernels(self, terms: Terms, one: str) -> None:
        run = await terms.left(f"wait{one}")
        for _ in range(2):
            async with terms.kernel() as bench:
                run = bench.adopt(run)
                bench.start(run)
                await new_sign_of_life(run)

        async with terms.kernel() as bench:
            task = bench.start(bench.adopt(run))
            bench.allow()
            outcome = await ended(task)
            await self.no_message_is_left(bench, one)

        assert outcome.value == "body has ended"
        assert bench.witnesses("body.begun") == [run.execution.id]
