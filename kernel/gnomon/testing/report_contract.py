"""The contract for what a body reports and orders while it runs, and for the secrets that it was given."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gnomon.runners.orders import TriggerOrder
from gnomon.testing.runner_bench import KNOWN_JOB, Bench, ended, lines_of, new_sign_of_life
from gnomon.text import is_writable

WORD = "s3cret-Value/42"
"""The secret of these tests."""


class ReportContract:
    """Part of RunnerContract; its fixture `bench` is a runner in its lifespan."""

    # What a body reports

    async def test_progress_arrives_whole_before_the_outcome(self, bench: Bench, one: str) -> None:
        run = bench.make_run(f"report{one}")

        outcome = await bench.outcome(run)
        run.context.flush()

        reported = bench.reports.last(run.execution.id)
        assert outcome.value == "reported"
        assert bench.reports.values(run.execution.id, "step") == ["fetch", "store"]
        assert [(step.name, step.weight) for step in reported["steps"]] == [("fetch", 1.0), ("store", 3.0)]
        assert (reported["percent"], reported["message"]) == (75.5, "the last word")
        assert (reported["processed_items"], reported["total_items"]) == (42, 42)

    async def test_log_lines_arrive_whole_and_in_order_before_the_outcome(self, bench: Bench, one: str) -> None:
        run = bench.make_run(f"write_log{one}", lines=300)

        outcome = await bench.outcome(run)

        assert outcome.is_success, outcome
        lines = [line for line in lines_of(run) if line.logger in {"gnomon.testing.bodies", "other"}]
        assert [line.text for line in lines[:-1]] == [f"line {number} 日本" for number in range(1, 301)]
        assert {(line.level, line.logger) for line in lines[:-1]} == {("warning", "gnomon.testing.bodies")}
        assert (lines[-1].level, lines[-1].logger) == ("error", "other")
        assert all(is_writable(line.text) for line in lines)
        assert all(run.execution.updated_at - timedelta(minutes=10) < line.at for line in lines)

    async def test_a_body_that_calls_its_context_gives_signs_of_life(self, bench: Bench, suffix: str) -> None:
        run = bench.make_run(f"wait{suffix}", here=str(bench.here))
        task = bench.start(run)
        await bench.witnessed("body.begun")

        for _ in range(2):
            await new_sign_of_life(run)
        bench.allow()

        assert (await ended(task)).is_success

    # Secrets

    @pytest.mark.parametrize("how", ["return", "raise"])
    async def test_secrets_of_the_arguments_reach_the_body_and_nothing_else(
        self, bench: Bench, one: str, how: str
    ) -> None:
        (bench.here / "token").write_text(WORD, encoding="utf-8")
        run = bench.make_run(f"show{one}", secret={"$secret": {"file": str(bench.here / "token")}}, how=how)

        outcome = await bench.outcome(run)
        run.context.flush()

        if how == "return":
            assert outcome.value == {"length": len(WORD), "text": "<***>"}
        else:
            assert (outcome.error_type, outcome.error_message) == ("ValueError", "wrong token ***")
        assert bench.reports.last(run.execution.id)["message"] == "using ***"
        assert [line.text for line in lines_of(run) if "logged" in line.text] == ["logged ***"]
        assert WORD not in repr((outcome, bench.reports.fields, lines_of(run)))

    async def test_a_secret_that_cannot_be_read_is_the_error_of_its_run(self, bench: Bench, one: str) -> None:
        missing = {"$secret": {"file": str(bench.here / "nothing")}}

        outcome = await bench.outcome(bench.make_run(f"show{one}", secret=missing, how="return"))

        assert (outcome.is_success, (outcome.error_type or "").rpartition(".")[2]) == (False, "SecretError")

    async def test_what_a_body_hides_is_hidden_from_then_on(self, bench: Bench, one: str) -> None:
        run = bench.make_run(f"hide{one}", text=WORD)

        outcome = await bench.outcome(run)

        assert outcome.value == "<***>"
        assert [line.text for line in lines_of(run) if "logged" in line.text] == ["logged ***"]

    # Orders

    async def test_an_order_of_a_body_is_carried_out_and_answered(self, bench: Bench, suffix: str) -> None:
        run = bench.make_run(f"trigger{suffix}", job=KNOWN_JOB)

        outcome = await bench.outcome(run)

        given = [(order.job_id, order.kwargs) for order in bench.reports.orders if isinstance(order, TriggerOrder)]
        assert given == [(KNOWN_JOB, {"number": 7})]
        assert len(outcome.value or "") == 24, outcome

    async def test_an_order_that_is_refused_raises_the_error_of_the_kernel(self, bench: Bench, one: str) -> None:
        outcome = await bench.outcome(bench.make_run(f"trigger{one}", job="no such job"))

        assert (outcome.error_type or "").rpartition(".")[2] == "UnknownJobError"
        assert "no such job" in (outcome.error_message or "")
