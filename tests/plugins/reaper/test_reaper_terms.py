"""The reaper of a process whose kernel leads, is deposed, follows another process, and leads again."""

from __future__ import annotations

from pathlib import Path

from gnomon import Job, Kernel
from gnomon.conversion import convert
from gnomon.engine.leader import Leader
from gnomon_reaper import ReaperPlugin
from leading_process import LeadingProcess, WaitingStore, depose, until

SILENT = Job(id="silent", func="asyncio:sleep", args=[3600])
CONFIG = {"interval": "1s", "threshold": "1s"}


async def test_a_reaper_ends_silent_runs_in_each_term_of_its_process(tmp_path: Path) -> None:
    store = WaitingStore(tmp_path / "log.db")
    reaper = ReaperPlugin(convert(CONFIG, ReaperPlugin.Config, "reaper"))

    async def expect_that_silent_runs_end() -> None:
        hung = (await kernel.trigger("silent")).execution
        assert (await kernel.wait(hung.id)).reason == "zombie"
        check = await kernel.wait((await kernel.trigger("gnomon.reaper")).execution.id)
        assert check.status == "success", check.error_message

    async with Kernel(store=store, jobs=[SILENT], plugins={"reaper": reaper}) as kernel:
        await expect_that_silent_runs_end()

        await depose(kernel, store)
        plugins = {"reaper": {"class": "gnomon_reaper:ReaperPlugin", "config": CONFIG}}
        other = LeadingProcess(tmp_path / "log.db", jobs=[SILENT.definition()], plugins=plugins)
        await expect_that_silent_runs_end()  # by the reaper of the other process
        other.close()

        store.may_lead.set()
        await until(lambda: isinstance(kernel.part, Leader) and not kernel.health().is_starting)
        await expect_that_silent_runs_end()
