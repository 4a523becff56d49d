"""Jobs that were added at run time, as commands without a kernel show them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from gnomon import Duration, Job
from gnomon.cli import main
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import load_config
from gnomon.deployment.kernel_factory import build_kernel

CONFIG = """
[plugins.sqlite]
path = "gnomon.db"

[[jobs]]
id = "defined"
func = "gnomon_chores:shell"
every = "1h"
kwargs = { argv = ["true"] }
"""
TWICE = '[[jobs]]\nid = "added"\nfunc = "gnomon_chores:shell"\nkwargs = { argv = ["true"] }\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment whose log has two added jobs, one of which cannot be built any more."""
    (tmp_path / "gnomon.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "short_lived_tasks.py").write_text("def send(): ...\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    async def add() -> None:
        async with build_kernel(assemble(load_config(tmp_path / "gnomon.toml"))) as kernel:
            await kernel.add_job(
                Job(id="added", func="gnomon_chores:shell", kwargs={"argv": ["true"]}, every=Duration(hours=1))
            )
            await kernel.add_job(Job(id="broken", func="short_lived_tasks:send", every=Duration(hours=1)))

    with capture_logs():
        asyncio.run(add())
    monkeypatch.delitem(__import__("sys").modules, "short_lived_tasks")
    (tmp_path / "short_lived_tasks.py").write_text("", encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": "250"})
    return result.exit_code, result.output + str(result.exception or "")


def test_lists_and_plans_show_them_with_their_problem(folder: Path) -> None:
    _, jobs = run("jobs")
    code, plan = run("plan")
    _, following = run("next", "added")
    checked, check = run("check", "--log")

    lines = {line.split()[0]: line for line in jobs.splitlines() if line.strip()}
    assert " api " in lines["added"]
    assert " config " in lines["defined"]
    assert "cannot run: func 'short_lived_tasks:send'" in lines["broken"]
    assert code == 0
    assert "its fires are held" in plan
    assert "nothing changes" in plan
    assert "every hour" in following
    assert checked == 1
    assert "job 'broken' cannot run" in check


def test_the_config_of_a_process_that_follows_shows_the_jobs_of_the_log(folder: Path) -> None:
    config = '[kernel]\nrole = "follower"\n[plugins.sqlite]\n[groups]\nown = 2\n'
    (folder / "follower.toml").write_text(config, encoding="utf-8")

    listed, jobs = run("jobs", "--config", "follower.toml")
    shown, job = run("jobs", "show", "defined", "--config", "follower.toml")
    planned, plan = run("plan", "follower.toml")
    checked, check = run("check", "--log", "follower.toml")

    assert [line.split()[0] for line in jobs.splitlines() if line.strip()] == ["JOB", "added", "broken", "defined"]
    assert "cannot run" not in jobs, "the kernel that leads has not said so"
    assert 'argv = ["true"]' in job
    assert "nothing changes" in plan
    assert "group" not in plan
    assert (listed, shown, planned, checked) == (0, 0, 0, 0), check


def test_a_plan_tells_which_added_jobs_it_would_leave_without_an_upstream_job_or_a_group(folder: Path) -> None:
    config = folder / "gnomon.toml"

    async def add() -> None:
        async with build_kernel(assemble(load_config(config))) as kernel:
            keys: dict[str, Any] = {"func": "gnomon_chores:shell", "kwargs": {"argv": ["true"]}}
            await kernel.add_job(Job(id="down", after=["defined"], **keys))
            await kernel.add_job(Job(id="grouped", group="wh", **keys))

    config.write_text("[groups]\nwh = 1\n" + CONFIG, encoding="utf-8")
    with capture_logs():
        asyncio.run(add())
    config.write_text(CONFIG.replace('"defined"', '"renamed"'), encoding="utf-8")

    code, plan = run("plan")
    checked, check = run("check", "--log")

    assert (code, checked) == (0, 1)
    for told in ("after names 'defined', and there is no such job", "the group 'wh' is not defined"):
        assert told in plan
        assert told in check


@pytest.mark.parametrize("command", [("plan",), ("jobs",), ("check", "--log")])
def test_an_id_that_the_config_has_too_is_named_with_both_places(folder: Path, command: tuple[str, ...]) -> None:
    (folder / "gnomon.toml").write_text(CONFIG + TWICE, encoding="utf-8")

    code, output = run(*command)

    assert code != 0
    assert "job 'added' was added at run time" in output
    assert "gnomon.toml defines a job with the same id" in output
