"""Reloads of a running kernel whose plugins bring jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gnomon import Job, KernelLed
from gnomon.cli.commands.reload import _sentences
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import load_config
from gnomon.deployment.kernel_factory import build_kernel
from gnomon.deployment.reload import Reloader
from gnomon.errors import ConfigError
from gnomon.kernel import Kernel

GREETER = """
from contextlib import asynccontextmanager
import msgspec
from gnomon import hookimpl

class Plugin:
    class Config(msgspec.Struct):
        word: str = "hello"
        job: bool = True

    class JobOptions(msgspec.Struct):
        loudness: int = 1

    def __init__(self, config):
        self.config = config
        self.is_started = False

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel):
        self.is_started = True
        yield

    @hookimpl
    def register_jobs(self, register):
        if self.config.job:
            register(id="greeter.greet", func=self.greet, every="1h")

    async def greet(self, name="you"):
        if not self.is_started:
            raise RuntimeError("the greeter was never started")
        return f"{self.config.word} {name}"
"""
MODULE = """
from contextlib import asynccontextmanager
from gnomon import hookimpl

started = []

@hookimpl
@asynccontextmanager
async def lifespan(kernel):
    started.append(kernel)
    yield

@hookimpl
def register_jobs(register):
    register(id="greeter.greet", func=greet)

def greet():
    return bool(started)
"""
LIVE = """
import msgspec
from gnomon import hookimpl

class Plugin:
    class Config(msgspec.Struct):
        word: str = "hello"
        port: int = 1

    def __init__(self, config):
        self.config = config

    @hookimpl
    def reload(self, config):
        return ["word"]
"""
BASE = """
plugins.paths = ["greeter.py"]
[plugins.sqlite]
path = "gnomon.db"
retention = "30d"
[plugins.reaper]
"""
OWN = """
[[jobs]]
id = "own.greet"
func = "greeter.greet"
kwargs = { name = "me" }
"""


class Deployed:
    """A config in a folder, and the kernel that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kernel: Kernel
        self.reloader: Reloader

    def write(self, text: str) -> Path:
        path = self.folder / "gnomon.toml"
        path.write_text(dedent(text), encoding="utf-8")
        return path

    def build(self, text: str) -> Kernel:
        deployment = assemble(load_config(self.write(text), {}))
        self.kernel = build_kernel(deployment)
        self.reloader = Reloader(self.kernel, deployment.config)
        return self.kernel

    async def reload(self, text: str) -> Any:
        self.write(text)
        return await self.reloader.reload("test")

    async def run(self, *job_ids: str) -> list[Any]:
        """Trigger jobs one after another, and return how each ended and with what."""
        ends = []
        for job_id in job_ids:
            triggered = await self.kernel.trigger(job_id, actor="test")
            end = await self.kernel.wait(triggered.execution.id)
            ends.append((end.status, end.return_value, end.error_message))
        return ends

    async def ids(self) -> set[str]:
        return {view.job.id for view in await self.kernel.jobs()}


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    monkeypatch.setattr(sys, "path", [*sys.path])
    # Set first, so that it is put back to nothing when the test is over.
    monkeypatch.setitem(sys.modules, "greeter", sys)
    monkeypatch.delitem(sys.modules, "greeter")
    (tmp_path / "greeter.py").write_text(GREETER, encoding="utf-8")
    return Deployed(tmp_path)


async def test_jobs_of_plugins_run_after_a_reload(deployed: Deployed) -> None:
    async with deployed.build(BASE + OWN):
        await deployed.reload(BASE + OWN.replace('"me"', '"them"'))

        ends = await deployed.run("gnomon.reaper", "sqlite.retention", "own.greet")
        unchanged = await deployed.reload(BASE + OWN.replace('"me"', '"them"'))
        again = await deployed.run("gnomon.reaper", "sqlite.retention", "own.greet")

    expected = [
        ("success", {"watched": 0, "warned": [], "ended": []}, None),
        ("success", 0, None),
        ("success", "hello them", None),
    ]
    assert ends == again == expected
    assert (unchanged.added, unchanged.changed, unchanged.removed) == ([], {}, [])


async def test_a_reload_may_change_the_job_of_a_plugin_and_change_it_back(deployed: Deployed) -> None:
    changed = '[[jobs]]\nid = "greeter.greet"\nfunc = "greeter.greet"\nevery = "2h"\n'
    async with deployed.build(BASE):
        to = await deployed.reload(BASE + changed)
        ends = await deployed.run("greeter.greet")
        back = await deployed.reload(BASE)
        ends += await deployed.run("greeter.greet")

    assert (to.changed, back.changed) == ({"greeter.greet": {"every": "2h"}}, {"greeter.greet": {"every": "1h"}})
    assert ends == [("success", "hello you", None)] * 2


async def test_a_function_of_a_plugin_file_belongs_to_the_running_module(deployed: Deployed) -> None:
    (deployed.folder / "greeter.py").write_text(MODULE, encoding="utf-8")
    text = '[plugins]\npaths = ["greeter.py"]\n[plugins.memory]\n[[jobs]]\nid = "own"\nfunc = "greeter:greet"\n'
    async with deployed.build(text):
        await deployed.reload(text + 'every = "5m"\n')
        ends = await deployed.run("own", "greeter.greet")

    assert ends == [("success", True, None)] * 2


async def test_the_jobs_of_a_new_plugin_come_with_the_restart(deployed: Deployed) -> None:
    text = "[plugins.sqlite]\npath = 'gnomon.db'\n[plugins]\npaths = []\n"
    with_plugin = (
        'plugins.paths = ["greeter.py"]\n[plugins.sqlite]\npath = "gnomon.db"\nretention = "9d"\n[plugins.reaper]\n'
    )
    more = '[[jobs]]\nid = "plain"\nfunc = "os:getpid"\nloudness = 3\n'
    async with deployed.build(text):
        reloaded = await deployed.reload(with_plugin + OWN + more)
        before = await deployed.ids()
    async with deployed.build(with_plugin + OWN + more):
        after = await deployed.ids()
        ends = await deployed.run("greeter.greet", "own.greet", "gnomon.reaper", "sqlite.retention")

    assert before == {"plain"}
    assert reloaded.needs_restart == ["plugins.paths", "plugins.reaper", "plugins.sqlite"]
    assert after == {"plain", "greeter.greet", "own.greet", "gnomon.reaper", "sqlite.retention"}
    assert [status for status, *_ in ends] == ["success"] * 4


async def test_the_jobs_of_a_plugin_that_is_gone_are_removed(deployed: Deployed) -> None:
    async with deployed.build(BASE):
        reloaded = await deployed.reload('plugins.paths = ["greeter.py"]\n[plugins.sqlite]\npath = "gnomon.db"\n')
        ids = await deployed.ids()

    assert set(reloaded.removed) == {"gnomon.reaper", "sqlite.retention"}
    assert ids == {"greeter.greet"}
    assert reloaded.needs_restart == ["plugins.reaper", "plugins.sqlite"]


async def test_settings_of_a_plugin_count_for_its_jobs_after_the_restart(deployed: Deployed) -> None:
    changed = BASE + '[plugins.greeter]\nword = "bye"\n'
    async with deployed.build(BASE):
        reloaded = await deployed.reload(changed)
        ends = await deployed.run("greeter.greet")
    async with deployed.build(changed):
        ends += await deployed.run("greeter.greet")

    assert reloaded.needs_restart == ["plugins.greeter"]
    assert [value for _, value, _ in ends] == ["hello you", "bye you"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (OWN + "loudnes = 2\n", "jobs[0 'own.greet'].loudnes: unknown key; did you mean 'loudness'?"),
        (OWN + 'loudness = "much"\n', "jobs[0 'own.greet'].loudness"),
        (OWN + 'cron = "99 * * * *"\n', "jobs[0 'own.greet'].cron"),
        (OWN.replace("greeter.greet", "greeter.gret"), "there is no job 'greeter.gret'"),
        (OWN + "[plugins.greeter]\nwords = 1\n", "plugins.greeter.words: unknown key"),
    ],
    ids=["unknown key", "option", "schedule", "unknown job", "section"],
)
async def test_the_whole_config_is_checked_before_a_reload(deployed: Deployed, text: str, problem: str) -> None:
    async with deployed.build(BASE + OWN):
        with pytest.raises(ConfigError) as refused:
            await deployed.reload(BASE + text)
        ends = await deployed.run("own.greet")

    assert problem in str(refused.value)
    assert ends == [("success", "hello me", None)]


async def test_a_reload_compares_with_the_settings_in_use(deployed: Deployed) -> None:
    (deployed.folder / "greeter.py").write_text(LIVE, encoding="utf-8")
    text = '[plugins]\npaths = ["greeter.py"]\n[plugins.memory]\n[plugins.greeter]\n'
    answers = []
    async with deployed.build(text):
        for keys in ("word = 'bye'", "word = 'bye'", "", "port = 2", "port = 2\nword = 'bye'", ""):
            reloaded = await deployed.reload(f"{text}{keys}\n")
            answers.append((reloaded.applied, reloaded.needs_restart))

    word, port = ["plugins.greeter.word"], ["plugins.greeter.port"]
    assert answers == [(word, []), ([], []), (word, []), ([], port), (word, port), (word, [])]


async def test_a_reload_tells_which_added_jobs_are_held(deployed: Deployed) -> None:
    upstream = OWN + 'every = "1h"\n'
    async with deployed.build(BASE + upstream) as kernel:
        await kernel.add_job(Job(id="down", func="gnomon_chores:shell", kwargs={"argv": ["true"]}, after=["own.greet"]))
        renamed = await deployed.reload(BASE + upstream.replace("own.greet", "own.hello"))
        back = await deployed.reload(BASE + upstream)

    assert "'down' (after names 'own.greet', and there is no such job" in renamed.held
    assert "! jobs cannot run, and their fires are held: 'down'" in _sentences(renamed)
    assert back.held is None


async def test_a_reload_applies_the_revision_of_the_config(deployed: Deployed) -> None:
    job = '[[jobs]]\nid = "own"\nfunc = "time:time"\n'
    old, new = (f"[kernel]\nrevision = {revision}\n[plugins.memory]\n{job}" for revision in (41, 42))
    async with deployed.build(old) as kernel:
        reloaded = await deployed.reload(new + 'every = "1h"\n')
        await deployed.reload(old)

        led = [event for event in await kernel.events() if isinstance(event, KernelLed)]
        (member,) = await kernel.kernels()
    assert (reloaded.needs_restart, list(reloaded.changed)) == ([], ["own"])
    assert [(one.deployment, one.revision, one.newest_revision) for one in led] == [
        (1, "41", "41"),
        (2, "42", "42"),
        (3, "41", "42"),
    ]
    assert member.revision == "41"
