"""The contract of runners has teeth: each broken runner fails the test that is about its defect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gnomon.clock import SystemClock
from gnomon.domain.execution import Execution
from gnomon.runners.async_task import AsyncRunner
from gnomon.runners.base import Outcome, Run, Runner
from gnomon.runners.thread import ThreadRunner
from gnomon.testing import runner_bench
from gnomon.testing.contracts import RemoteRunnerContract, RunnerContract
from gnomon.testing.remote_runner_contract import Terms
from gnomon.testing.runner_bench import Bench, on_bench
from spool_runner import SpoolRunner, spool_workers

Test = Callable[..., Awaitable[None]]


@pytest.fixture(autouse=True)
def patience_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a broken runner never does is not waited for."""
    monkeypatch.setattr(runner_bench, "PATIENCE_S", 3.0)


# --- in this process ---


class ForgetsValues(ThreadRunner):
    async def run(self, run: Run) -> Outcome:
        return replace(await super().run(run), value=None)


class RaisesErrors(ThreadRunner):
    async def run(self, run: Run) -> Outcome:
        outcome = await super().run(run)
        if outcome.exception is not None:
            raise RuntimeError from outcome.exception
        return outcome


class KeepsWholeTexts(ThreadRunner):
    async def run(self, run: Run) -> Outcome:
        outcome = await super().run(run)
        return replace(outcome, error_message=str(outcome.exception), traceback=str(outcome.exception))


class ShowsSecrets(ThreadRunner):
    async def run(self, run: Run) -> Outcome:
        _, kwargs = run.arguments()
        return replace(await super().run(run), traceback=f"in show({kwargs})")


class RunsOneAfterTheOther(ThreadRunner):
    def __init__(self) -> None:
        super().__init__(SystemClock())
        self._lock = asyncio.Lock()

    async def run(self, run: Run) -> Outcome:
        async with self._lock:
            return await super().run(run)


class LosesTheContext(ThreadRunner):
    async def run(self, run: Run) -> Outcome:
        return await super().run(replace(run, context=type(run.context)(run.execution, _Nowhere())))


class _Nowhere:
    def record_progress(self, execution_id: str, fields: dict[str, Any]) -> None: ...
    def flush_later(self, context: object) -> None: ...
    def order(self, context: object, order: object) -> Any: ...


class LosesSnoozes(ThreadRunner):
    async def run(self, run: Run) -> Outcome:
        return replace(await super().run(run), snooze=None)


class KnowsAllIds(ThreadRunner):
    def cancel(self, execution_id: str) -> None:
        raise KeyError(execution_id)


class CallsSuccessCancelled(ThreadRunner):
    async def run(self, run: Run) -> Outcome:
        outcome = await super().run(run)
        return replace(outcome, cancelled=run.context.cancel_requested)


class NeverInterrupts(AsyncRunner):
    def cancel(self, execution_id: str) -> None: ...


def thread(kind: type[ThreadRunner]) -> Runner:
    return kind() if kind is RunsOneAfterTheOther else kind(SystemClock())


IN_THIS_PROCESS: list[tuple[type[ThreadRunner], Test, dict[str, Any]]] = [
    (ForgetsValues, RunnerContract.test_a_body_has_its_arguments_and_its_context, {"suffix": ""}),
    (RaisesErrors, RunnerContract.test_whatever_a_body_raises_is_an_outcome, {"suffix": ""}),
    (KeepsWholeTexts, RunnerContract.test_texts_of_errors_are_bounded_and_can_be_stored, {"one": "", "how": "large"}),
    (
        ShowsSecrets,
        RunnerContract.test_secrets_of_the_arguments_reach_the_body_and_nothing_else,
        {"one": "", "how": "raise"},
    ),
    (LosesTheContext, RunnerContract.test_progress_arrives_whole_before_the_outcome, {"one": ""}),
    (LosesTheContext, RunnerContract.test_log_lines_arrive_whole_and_in_order_before_the_outcome, {"one": ""}),
    (LosesTheContext, RunnerContract.test_a_body_that_calls_its_context_gives_signs_of_life, {"suffix": ""}),
    (LosesTheContext, RunnerContract.test_an_order_of_a_body_is_carried_out_and_answered, {"suffix": ""}),
    (LosesTheContext, RunnerContract.test_a_body_that_is_cancelled_cleans_up, {"suffix": ""}),
    (LosesSnoozes, RunnerContract.test_a_snooze_has_its_delay_and_its_reason, {"suffix": ""}),
    (KnowsAllIds, RunnerContract.test_a_cancellation_of_a_run_that_is_not_there_does_nothing, {"one": ""}),
    (CallsSuccessCancelled, RunnerContract.test_a_body_that_ends_in_spite_of_a_request_has_its_value, {"suffix": ""}),
    (RunsOneAfterTheOther, RunnerContract.test_two_bodies_run_at_once_and_each_has_its_own_context, {"suffix": ""}),
]


def label(value: Any) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize(("kind", "test", "fixtures"), IN_THIS_PROCESS, ids=label)
async def test_a_broken_runner_fails(
    tmp_path: Path, kind: type[ThreadRunner], test: Test, fixtures: dict[str, Any]
) -> None:
    async with on_bench(thread(kind), tmp_path) as bench:
        with pytest.raises((AssertionError, TimeoutError, KeyError, RuntimeError)):
            await test(RunnerContract(), bench, **fixtures)
        _let_all_bodies_end(bench)


async def test_a_runner_that_does_not_interrupt_although_it_says_so_fails(tmp_path: Path) -> None:
    class Contract(RunnerContract):
        interrupts = ("async",)

    async with on_bench(NeverInterrupts(SystemClock()), tmp_path) as bench:
        with pytest.raises(TimeoutError):
            await Contract().test_a_body_without_context_calls_stops_where_the_runner_can_stop_it(bench, "_async")


def _let_all_bodies_end(bench: Bench) -> None:
    for name in ("body", "one", "other", "late"):
        bench.allow(name)
    (bench.here / "never").touch()


# --- elsewhere ---


class BeginsAgain(SpoolRunner):
    def send(self, run: Run) -> None:
        (self.spool / "claims" / run.execution.id).unlink(missing_ok=True)
        super().send(run)


class GivesUpAdopted(SpoolRunner):
    async def run(self, run: Run) -> Outcome:
        if run.is_adopted:
            return Outcome(0.0, error_type="Lost", error_message="it is not known", reason="lost")
        return await super().run(run)


class StopsBodiesWithTheKernel(SpoolRunner):
    async def run(self, run: Run) -> Outcome:
        try:
            return await super().run(run)
        except asyncio.CancelledError:
            self.cancel(run.execution.id)
            raise


class ExpectsToHaveSent(SpoolRunner):
    async def run(self, run: Run) -> Outcome:
        return await (self.follow(run) if run.is_adopted else super().run(run))


class CannotWithdraw(SpoolRunner):
    def withdraw(self, execution_id: str) -> None: ...


class WithdrawsWhatHasBegun(SpoolRunner):
    def withdraw(self, execution_id: str) -> None:
        (self.spool / "claims" / execution_id).write_text("withdrawn")


class NeverSaysBegun(SpoolRunner):
    def receive(self, run: Run, message: dict[str, Any]) -> None:
        if message["kind"] != "begun":
            super().receive(run, message)


class NumbersLinesItself(SpoolRunner):
    def receive(self, run: Run, message: dict[str, Any]) -> None:
        super().receive(run, {**message, "number": None} if message["kind"] == "log" else message)


class AnswersAgain(SpoolRunner):
    async def answer(self, run: Run, message: dict[str, Any]) -> None:
        (self.spool / "answers" / f"{run.execution.id}.{message['number']}").unlink(missing_ok=True)
        await super().answer(run, message)


class AdoptsNothing(SpoolRunner):
    def adopt(self, execution: Execution) -> bool:
        return False


class HidesItsWorkers(SpoolRunner):
    async def workers(self) -> None:  # type: ignore[override]
        return None


Remote = RemoteRunnerContract
GOES_ON = Remote.test_a_body_goes_on_when_its_kernel_stops_and_is_adopted_by_the_next_one
ENDS, NEVER = AssertionError, TimeoutError
ELSEWHERE: list[tuple[type[SpoolRunner], Test, dict[str, Any], type[Exception]]] = [
    (BeginsAgain, Remote.test_an_end_that_is_not_durable_yet_is_there_for_the_next_kernel, {"suffix": ""}, ENDS),
    (BeginsAgain, Remote.test_the_end_of_a_body_waits_for_the_next_kernel, {"suffix": ""}, ENDS),
    (GivesUpAdopted, Remote.test_the_end_of_a_body_waits_for_the_next_kernel, {"suffix": ""}, ENDS),
    (StopsBodiesWithTheKernel, GOES_ON, {"one": "", "keeps": True}, ENDS),
    (AdoptsNothing, GOES_ON, {"one": "", "keeps": True}, ENDS),
    (NumbersLinesItself, GOES_ON, {"one": "", "keeps": True}, ENDS),
    (
        AnswersAgain,
        Remote.test_an_order_that_was_answered_has_no_second_effect_under_the_next_kernel,
        {"suffix": ""},
        ENDS,
    ),
    (ExpectsToHaveSent, Remote.test_a_run_that_was_never_sent_is_adopted_and_begins, {"one": ""}, NEVER),
    (
        CannotWithdraw,
        Remote.test_a_body_that_is_withdrawn_never_begins,
        {"one": "", "how": "withdraw", "is_sent": True},
        NEVER,
    ),
    (WithdrawsWhatHasBegun, Remote.test_a_body_that_has_begun_is_not_withdrawn, {"one": ""}, ENDS),
    (NeverSaysBegun, Remote.test_a_runner_reports_that_a_body_has_begun_and_where, {"suffix": ""}, NEVER),
    (HidesItsWorkers, Remote.test_the_workers_and_the_queue_of_a_job_are_listed, {"one": ""}, ENDS),
]
"""Each with what it fails with: a wrong end, or one for which the test waits in vain."""


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Path]:
    with spool_workers(tmp_path / "spool"):
        yield tmp_path / "spool"


@pytest.mark.parametrize(("kind", "test", "fixtures", "error"), ELSEWHERE, ids=label)
async def test_a_broken_remote_runner_fails(
    spool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[SpoolRunner],
    test: Test,
    fixtures: dict[str, Any],
    error: type[Exception],
) -> None:
    class Contract(RemoteRunnerContract):
        def another(self, runner: Runner) -> Runner:
            return kind(spool)

    contract, runner = Contract(), kind(spool)
    if error is not NEVER:
        monkeypatch.undo()  # patience costs nothing, and a busy machine must not stand for the defect
    if "bench" in test.__code__.co_varnames[: test.__code__.co_argcount]:
        async with on_bench(runner, tmp_path) as bench:
            with pytest.raises(error):
                await test(contract, bench, **fixtures)
    else:
        with pytest.raises(error):
            await test(contract, Terms(contract, runner, tmp_path), **fixtures)


async def test_a_remote_runner_under_the_contract_of_the_others_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="a remote runner keeps RemoteRunnerContract"):
        await RunnerContract().test_the_runner_keeps_the_contract_of_its_kind(SpoolRunner(tmp_path))
