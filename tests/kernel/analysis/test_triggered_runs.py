"""Runs that other runs triggered, in explain, in `gnomon runs` and in the records of the wire."""

from collections.abc import Callable

from gnomon import Context, Duration, Job, Kernel
from gnomon.analysis.explain import explain
from gnomon.cli.commands.runs import details
from gnomon.cli.output.run_report import facts
from gnomon.testing import VirtualClock
from gnomon.testing.clock import START
from gnomon.wire.records import Record


async def load(ctx: Context) -> str:
    return (await ctx.trigger("report")).execution.id


async def report() -> None:
    pass


async def test_a_triggered_run_names_the_run_that_triggered_it(
    gnomon_kernel: Callable[..., Kernel], gnomon_clock: VirtualClock
) -> None:
    async with gnomon_kernel(
        Job(id="load", func=load), Job(id="report", func=report, every=Duration(hours=1))
    ) as kernel:
        loaded = await kernel.wait((await kernel.trigger("load", actor="ann")).execution.id)
        await gnomon_clock.settle()
        reported = await kernel.wait(loaded.return_value)

        for asked in (None, START, START.date()):
            sentences = (await explain(kernel._store, "report", asked, gnomon_clock.now())).sentences
            by = f"by run {loaded.id} of job load. It succeeded"
            wanted = f"Run {reported.id} was triggered at 2026-01-01 00:00 UTC {by}"
            assert [wanted in sentence for sentence in sentences].count(True) == 1, sentences
        of_parent = (await explain(kernel._store, "load", None, gnomon_clock.now())).sentences

    assert not any("was triggered at" in sentence for sentence in of_parent)
    assert details(reported) == f"by run {loaded.id}"
    assert ("triggered by", f"run {loaded.id}") in facts(reported, None)
    assert "by hand" not in dict(facts(reported, None))
    assert details(loaded) == "by hand"
    assert Record.of(reported).triggered_by == loaded.id
