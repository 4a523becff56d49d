import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gnomon.deployment.assembly import Deployment, assemble
from gnomon.deployment.config import load_config
from gnomon.errors import ConfigError
from gnomon.jobs import registered
from gnomon.jobs.body import make_body
from gnomon.jobs.job import Job
from gnomon.kernel import Kernel
from gnomon.stores.memory import MemoryStore

STORE = """
from gnomon.hookspecs import hookimpl
from gnomon.stores.memory import MemoryStore
@hookimpl
def register_store(register):
    register(MemoryStore())
"""
CALENDAR = """
import msgspec
from gnomon.hookspecs import hookimpl
class JobOptions(msgspec.Struct):
    calendar: str
    offset: int = 0
"""

Write = Callable[[str, str], Path]
Deploy = Callable[..., Deployment]
Problems = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module that only this test sees."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(name: str, text: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(dedent(text), encoding="utf-8")
        # Set first, so that it is put back to nothing when the test is over.
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)
        return path

    return write


@pytest.fixture
def deploy(tmp_path: Path, write: Write) -> Deploy:
    """Assemble a config that is written in the test, together with a store."""

    def deploy(text: str = "", plugins: tuple[str, ...] = (), *, store: bool = True) -> Deployment:
        names = (*plugins, "memory_file") if store else plugins
        write("memory_file", STORE)
        paths = ", ".join(f'"{name}.py"' for name in names)
        path = tmp_path / "gnomon.toml"
        path.write_text(f"plugins.paths = [{paths}]\n{dedent(text)}", encoding="utf-8")
        return assemble(load_config(path, {}))

    return deploy


@pytest.fixture
def problems_of(deploy: Deploy) -> Problems:
    def problems_of(*args: Any, **kwargs: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            deploy(*args, **kwargs)
        return caught.value.problems

    return problems_of


def ids(deployment: Deployment) -> list[str]:
    return [job.id for job in deployment.jobs]


def only(deployment: Deployment) -> Job:
    (job,) = deployment.jobs
    return job


# --- the whole ---


def test_the_quickstart_can_be_assembled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    deployment = assemble(load_config(None, {}))

    assert [plugin.name for plugin in deployment.plugins] == ["sqlite"]
    assert deployment.store.name == "sqlite"
    assert set(ids(deployment)) == {"disk_usage", "integrity_audit", "backup", "sqlite.retention"}
    assert list(tmp_path.iterdir()) == []


def test_a_deployment_has_its_plugins_its_store_and_its_jobs(deploy: Deploy) -> None:
    deployment = deploy('[[jobs]]\nid = "x"\nfunc = "json:dumps"\nargs = [1]')

    assert [plugin.name for plugin in deployment.plugins] == ["memory_file"]
    assert isinstance(deployment.store, MemoryStore)
    assert ids(deployment) == ["x"]


def test_every_problem_is_reported_at_once(problems_of: Problems, write: Write) -> None:
    write("broken_file", "1 / 0")

    problems = problems_of(
        """
        [plugins.nobody]
        [kernel]
        python_path = ["nowhere"]
        modules = ["no_such_module"]
        [[jobs]]
        id = "a"
        func = "json:dumps"
        args = [1]
        cron = "61 * * * *"
        [[jobs]]
        id = "a b"
        func = "json:dumps"
        [[jobs]]
        id = "c"
        func = "json:nothing"
        timezone = "Mars/Olympus"
        """,
        ("broken_file",),
    )

    assert [problem.partition(": ")[0] for problem in problems] == [
        "kernel.python_path",
        "plugin 'broken_file' cannot be imported",
        "plugins.nobody",
        "kernel.modules",
        "jobs[1 'a b'].id",
        "jobs[0 'a'].cron",
        "jobs[2 'c'].timezone",
        "jobs[2 'c'].func",
    ]


@pytest.mark.parametrize(
    ("func", "kwargs", "problem"),
    [
        ("shell", 'argv = "df -h"', "kwargs.argv: "),
        ("shell", "argv = []", "kwargs.argv: "),
        ("shell", 'argv = ["ls"], timeout = 0', "kwargs.timeout: "),
        ("shell", 'argv = ["ls"], env = { "A=B" = "c" }', "kwargs.env['A=B']: "),
        ("http", 'url = "ftp://example.org"', "kwargs.url: "),
        ("http", 'url = "http://example.org", body = "a", json = 1', "kwargs.body: "),
        ("backup", 'database = "a.db", directory = "b", keep = 0', "kwargs.keep: "),
        ("backup", 'database = "a.db", directory = "b", prefix = "c/d"', "kwargs.prefix: "),
        ("integrity_audit", 'paths = [""]', "kwargs.paths: "),
    ],
)
def test_arguments_that_a_stock_job_refuses_are_reported(
    problems_of: Problems, func: str, kwargs: str, problem: str
) -> None:
    (found,) = problems_of(f'[[jobs]]\nid = "x"\nfunc = "gnomon_chores:{func}"\nkwargs = {{ {kwargs} }}')

    assert found.startswith(f"jobs[0 'x'].{problem}")


def test_arguments_that_may_become_right_are_not_refused(deploy: Deploy) -> None:
    """The folder may be created."""
    keys = 'kwargs = { argv = ["ls"], cwd = "/no/such/folder" }'

    assert ids(deploy(f'[[jobs]]\nid = "x"\nfunc = "gnomon_chores:shell"\n{keys}')) == ["x"]


def test_a_key_of_a_plugin_file_that_does_not_load_is_not_just_unknown(problems_of: Problems, write: Write) -> None:
    write("gnomon_broken", "import no_such_module")
    problems = problems_of('[[jobs]]\nid = "x"\nfunc = "time:time"\nown_key = 1', ("gnomon_broken",))

    unknown = "unknown key; it may belong to the plugin 'broken', which could not be loaded"
    assert f"jobs[0 'x'].own_key: {unknown}" in problems


def test_a_limit_in_words_says_what_to_write(problems_of: Problems) -> None:
    keys = 'runner = "process"\nlimits = { memory = "1GB" }'
    (found,) = problems_of(f'[[jobs]]\nid = "x"\nfunc = "time:time"\n{keys}')

    expected = "expected integer, got text '1GB'; write bytes as a number, such as memory = 1_000_000_000"
    assert found == f"jobs[0 'x'].limits.memory: {expected}"


# --- stores ---


def test_a_deployment_without_a_store_is_refused(problems_of: Problems) -> None:
    assert problems_of(store=False) == [
        "plugins: no enabled plugin provides a store; add a section such as [plugins.sqlite]"
    ]


def test_a_deployment_with_two_stores_is_refused_and_both_are_named(problems_of: Problems, write: Write) -> None:
    write("second_file", STORE)

    assert problems_of("", ("second_file",)) == [
        "plugins: 'second_file' and 'memory_file' each provide a store, but a deployment has one log: enable one"
    ]


def test_a_store_that_cannot_be_created_is_one_problem(problems_of: Problems, write: Write) -> None:
    write("sick_file", "from gnomon.hookspecs import hookimpl\n@hookimpl\ndef register_store(register): 1 / 0")

    assert problems_of("", ("sick_file",), store=False) == [
        "plugin 'sick_file' failed in register_store: ZeroDivisionError: division by zero"
    ]


# --- where jobs come from ---


def test_functions_are_found_beside_the_config_file(deploy: Deploy, write: Write) -> None:
    write("my_jobs", "def sync(): ...")

    assert only(deploy('[[jobs]]\nid = "sync"\nfunc = "my_jobs:sync"')).func == "my_jobs:sync"


def test_the_python_path_is_added_to_the_front_once_and_in_order(deploy: Deploy, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()

    deploy('kernel.python_path = ["lib", "."]')
    deploy('kernel.python_path = ["lib", "."]')

    assert sys.path[:2] == [str(tmp_path / "lib"), str(tmp_path)]
    assert sys.path.count(str(tmp_path)) == 1


def test_what_others_may_write_is_a_warning_and_for_root_a_problem(
    deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib").chmod(0o777)
    text = 'kernel.python_path = [".", "lib"]'
    expected = (
        f"kernel.python_path: 'lib': {tmp_path / 'lib'} can be changed by every user, who could run code as the "
        "user of this kernel: chmod go-w"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert deploy(text).warnings == [expected]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigError) as refused:
        deploy(text)
    assert refused.value.problems == [expected]

    (tmp_path / "lib").chmod(0o755)
    (tmp_path / "gnomon.toml").chmod(0o666)
    with pytest.raises(ConfigError, match=r"the config: .*gnomon\.toml can be changed by every user"):
        assemble(load_config(tmp_path / "gnomon.toml"))


def test_the_store_is_found_without_importing_other_plugins_or_jobs(tmp_path: Path, write: Write) -> None:
    write("memory_file", STORE)
    write("explosive", "raise RuntimeError('imported')")
    path = tmp_path / "gnomon.toml"
    path.write_text(
        'plugins.paths = ["memory_file.py", "explosive.py"]\n'
        '[kernel]\nmodules = ["explosive"]\n[[jobs]]\nid = "x"\nfunc = "explosive:x"\n',
        encoding="utf-8",
    )

    store = Deployment.store_only(load_config(path, {}))

    assert store.name == "memory"
    assert "explosive" not in sys.modules


def test_a_missing_store_is_reported_with_the_problems_of_the_plugins(tmp_path: Path, write: Write) -> None:
    write("explosive", "raise RuntimeError('imported')")
    path = tmp_path / "gnomon.toml"
    path.write_text('plugins.paths = ["explosive.py"]\n', encoding="utf-8")

    with pytest.raises(ConfigError, match="plugin 'explosive' cannot be imported: RuntimeError: imported"):
        Deployment.store_only(load_config(path, {}))


def test_modules_define_jobs(deploy: Deploy, write: Write) -> None:
    write("my_jobs", "from gnomon import job\n@job(every='1m')\ndef sync(): ...")

    job = only(deploy('kernel.modules = ["my_jobs"]\nkernel.timezone = "Asia/Shanghai"'))

    assert (job.id, job.every, job.timezone) == ("sync", timedelta(minutes=1), "Asia/Shanghai")


def test_a_module_without_jobs_is_reported(problems_of: Problems, write: Write) -> None:
    write("my_jobs", "def sync(): ...")

    assert problems_of('kernel.modules = ["my_jobs"]') == [
        "kernel.modules: 'my_jobs' has no jobs; decorate a function in it with @job"
    ]


OFFERING = """
from gnomon.hookspecs import hookimpl
from gnomon.jobs import registered
from gnomon.jobs.body import make_body
from gnomon.jobs.job import Job
from gnomon.kernel import Kernel
def tidy(keep=1): ...
@hookimpl
def register_jobs(register):
    register(Job(id="tidy.whole", func=tidy))
    register(id="tidy.keys", func=tidy, cron="@daily", kwargs={"keep": 2})
"""


def test_plugins_define_jobs(deploy: Deploy, write: Write) -> None:
    write("offering", OFFERING)

    assert ids(deploy("", ("offering",))) == ["tidy.whole", "tidy.keys"]


def test_an_invalid_job_of_a_plugin_names_the_plugin(problems_of: Problems, write: Write) -> None:
    write("offering", OFFERING.replace("kwargs", "kwarg"))

    assert problems_of("", ("offering",)) == [
        "plugin 'offering' job 'tidy.keys'.kwarg: unknown key; did you mean 'kwargs'?"
    ]


def test_a_job_has_the_zone_of_the_kernel_by_default(deploy: Deploy) -> None:
    deployment = deploy(
        """
        [kernel]
        timezone = "Asia/Shanghai"
        [[jobs]]
        id = "a"
        func = "time:time"
        [[jobs]]
        id = "b"
        func = "time:time"
        timezone = "Europe/Berlin"
        """
    )

    assert [job.timezone for job in deployment.jobs] == ["Asia/Shanghai", "Europe/Berlin"]


def test_a_job_is_checked_and_built_once_on_its_way_from_the_config_to_the_kernel(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def record(job: Job, make_body: Any = make_body) -> Any:
        built.append(job.id)
        return make_body(job)

    monkeypatch.setattr(registered, "make_body", record)

    deployment = deploy('[[jobs]]\nid = "a"\nfunc = "time:time"')
    Kernel(jobs=deployment.registered_jobs)

    assert built == ["a"]


def test_what_a_kernel_would_refuse_is_a_problem_of_the_config_already(problems_of: Problems) -> None:
    found = problems_of(
        """
        [[jobs]]
        id = "day"
        func = "builtins:print"
        kwargs = { sep = 2026-01-01 }
        [[jobs]]
        id = "sync"
        func = "time:time"
        runner = "async"
        """
    )

    assert [problem.partition(":")[0] for problem in found] == ["jobs[0 'day'].kwargs", "jobs[1 'sync'].runner"]
    assert "would be read back from the log as" in found[0]
    assert "is not a coroutine function" in found[1]


# --- overriding declared jobs ---


def test_an_entry_changes_the_job_that_it_names(deploy: Deploy, write: Write) -> None:
    write("offering", OFFERING)

    deployment = deploy('[[jobs]]\nfunc = "tidy.keys"\nkwargs = { keep = 9 }', ("offering",))
    changed = deployment.jobs[-1]

    assert ids(deployment) == ["tidy.whole", "tidy.keys"]
    assert (changed.kwargs, changed.cron) == ({"keep": 9}, "@daily")


def test_an_entry_may_replace_the_schedule_of_a_job(deploy: Deploy, write: Write) -> None:
    write("offering", OFFERING)

    changed = deploy('[[jobs]]\nfunc = "tidy.keys"\nevery = "1h"', ("offering",)).jobs[-1]

    assert (changed.cron, changed.every) == (None, timedelta(hours=1))


def test_an_entry_with_another_id_is_an_additional_job(deploy: Deploy, write: Write) -> None:
    write("offering", OFFERING)

    deployment = deploy('[[jobs]]\nid = "weekly"\nfunc = "tidy.keys"\ncron = "@weekly"', ("offering",))

    assert {job.id: job.cron for job in deployment.jobs} == {
        "tidy.whole": None,
        "tidy.keys": "@daily",
        "weekly": "@weekly",
    }


def test_an_unknown_job_is_reported_with_a_similar_one(problems_of: Problems, write: Write) -> None:
    write("offering", OFFERING)

    (problem,) = problems_of('[[jobs]]\nid = "x"\nfunc = "tidy.kyes"', ("offering",))

    assert problem.startswith(
        "jobs[0 'x'].func: there is no job 'tidy.kyes': expected \"package.module:callable\", or the id"
    )
    assert problem.endswith("; did you mean 'tidy.keys'?")


# --- ids ---


def test_two_entries_with_one_id_are_refused(problems_of: Problems) -> None:
    assert problems_of('[[jobs]]\nid = "x"\nfunc = "time:time"\n' * 2) == [
        "jobs[1 'x'].id: the id 'x' is already taken by jobs[0 'x']"
    ]


def test_an_entry_cannot_take_the_id_of_another_job(problems_of: Problems, write: Write) -> None:
    write("offering", OFFERING)

    (problem,) = problems_of('[[jobs]]\nid = "tidy.keys"\nfunc = "time:time"', ("offering",))

    assert problem == (
        "jobs[0 'tidy.keys'].id: the id 'tidy.keys' is already taken by plugin 'offering' job 'tidy.keys'; "
        "to change that job, write `func = 'tidy.keys'`"
    )


def test_two_declared_jobs_with_one_id_are_refused(problems_of: Problems, write: Write) -> None:
    write("offering", OFFERING)
    write("my_jobs", "from gnomon import job\n@job(id='tidy.keys')\ndef sync(): ...")

    assert problems_of('kernel.modules = ["my_jobs"]', ("offering",)) == [
        "plugin 'offering' job 'tidy.keys': the id 'tidy.keys' is already taken by @job my_jobs:sync"
    ]


# --- checks ---


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            'func = "json:dumps"\nevery = 60',
            "jobs[0 'x'].kwargs: json:dumps cannot be called with args=[] and kwargs={}",
        ),
        ('func = "nowhere_at_all:x"', "jobs[0 'x'].func: 'nowhere_at_all:x': there is no module 'nowhere_at_all'"),
        ('func = "time:time"\nevery = 0', "jobs[0 'x'].every: an interval must be longer than zero"),
        ('func = "time:time"\ncron = "x"', "jobs[0 'x'].cron: cron expression 'x' has 1 field"),
        ('func = "time:time"\ntrigger = { type = "x" }', "jobs[0 'x'].trigger: "),
        ('func = "time:time"\nevry = "1h"', "jobs[0 'x'].evry: unknown key; did you mean 'every'?"),
        (
            'func = "time:time"\nmisfire_grace_time = 60',
            "jobs[0 'x'].misfire_grace_time: unknown key; the time in which a late fire still runs is `grace`",
        ),
        (
            'func = "time:time"\nretry = 2',
            "jobs[0 'x'].retry: expected table, got integer 2; write retry = { attempts = … }",
        ),
        ('cron = "@daily"', "jobs[0 'x']: 'func' is missing"),
        (
            'func = "time:time"\ncalendar = "XSHG"',
            "jobs[0 'x'].calendar: belongs to the plugin 'market', which is not enab",
        ),
    ],
)
def test_a_job_that_cannot_run_is_reported_with_its_place(problems_of: Problems, keys: str, problem: str) -> None:
    (found,) = problems_of(f'[[jobs]]\nid = "x"\n{keys}')

    assert found.startswith(problem)


# --- keys of plugins ---


def test_what_a_job_has_from_a_plugin_that_does_not_load_is_no_other_mistake(problems_of: Problems) -> None:
    text = '[plugins.celery]\nbroker = "amqp://mq"\n[[jobs]]\nid = "x"\nfunc = "time:time"\n'

    first, second, third = problems_of(text + 'runner = "celery"\nqueue = "reports"')

    assert first.startswith("plugins.celery: channel is missing")
    assert second == "jobs[0 'x'].queue: belongs to the plugin 'celery', which could not be loaded"
    assert "the runner 'celery' is not there" in third
    assert third.endswith("others come from plugins: enable the plugin, or solve its problem")


def test_a_plugin_that_does_not_load_may_own_an_unknown_key(problems_of: Problems) -> None:
    text = '[plugins.sectors]\n[[jobs]]\nid = "x"\nfunc = "time:time"\nsector = "chips"\nevry = "1h"'

    assert problems_of(text)[1:] == [
        "jobs[0 'x'].sector: unknown key; it may belong to the plugin 'sectors', which could not be loaded",
        "jobs[0 'x'].evry: unknown key; did you mean 'every'?",
    ]


def test_keys_of_plugins_go_to_the_options(deploy: Deploy, write: Write) -> None:
    write("calendars", CALENDAR)

    job = only(deploy('[[jobs]]\nid = "x"\nfunc = "time:time"\ncalendar = "XSHG"', ("calendars",)))

    assert job.options == {"calendar": "XSHG"}


def test_options_of_a_job_are_merged_key_by_key(deploy: Deploy, write: Write) -> None:
    write("calendars", CALENDAR)
    write("my_jobs", "from gnomon import job\n@job(options={'calendar': 'XSHG'})\ndef sync(): ...")

    job = only(deploy('kernel.modules = ["my_jobs"]\n[[jobs]]\nfunc = "sync"\noffset = 2', ("calendars",)))

    assert job.options == {"calendar": "XSHG", "offset": 2}


@pytest.mark.parametrize(
    ("keys", "problems"),
    [
        ("calendar = 5", ["jobs[0 'x'].calendar: expected text, got integer 5"]),
        ("offset = 1", ["jobs[0 'x']: 'calendar' is missing"]),
        ('calender = "XSHG"', ["jobs[0 'x'].calender: unknown key; did you mean 'calendar'?"]),
        (
            'options = { calender = "X" }',
            ["jobs[0 'x'].options.calender: unknown key; did you mean 'calendar'?"],
        ),
        ('options = 5\ncalendar = "X"', ["jobs[0 'x'].options: expected table, got integer 5"]),
    ],
)
def test_keys_of_plugins_are_checked(problems_of: Problems, write: Write, keys: str, problems: list[str]) -> None:
    write("calendars", CALENDAR)

    assert problems_of(f'[[jobs]]\nid = "x"\nfunc = "time:time"\n{keys}', ("calendars",)) == problems


def test_a_key_has_one_owner(problems_of: Problems, write: Write) -> None:
    write("calendars", CALENDAR)
    write("also_calendars", CALENDAR.replace("offset", "timeout"))

    assert problems_of("", ("calendars", "also_calendars")) == [
        "plugin 'also_calendars' defines the job key 'calendar', which is already taken: rename it",
        "plugin 'also_calendars' defines the job key 'timeout', which is already taken: rename it",
    ]


# --- doubtful definitions ---


@pytest.mark.parametrize("key", ["cron", "every", "at"])
def test_an_empty_schedule_is_no_schedule_with_a_warning(deploy: Deploy, key: str) -> None:
    deployment = deploy(f"[[jobs]]\nid = 'x'\nfunc = 'os:getpid'\n{key} = ' '")

    assert not deployment.jobs[0].has_schedule
    assert deployment.warnings == [
        f"jobs[0 'x'].{key}: is empty, so the job has no schedule and runs only when it is triggered"
    ]


@pytest.mark.parametrize("key", ["cron", "every", "at"])
def test_an_empty_schedule_of_the_environment_is_no_schedule_and_names_the_variable(
    deploy: Deploy, tmp_path: Path, key: str
) -> None:
    deploy()
    path = tmp_path / "gnomon.toml"
    head = f"{path.read_text()}\n[[jobs]]\nid = 'x'\nfunc = 'os:getpid'\n"
    override = f"GNOMON__JOBS__X__{key.upper()}"

    path.write_text(f"{head}{key} = {{ env = 'WHEN' }}")
    by_reference = assemble(load_config(path, {"WHEN": ""}))
    path.write_text(head)
    by_override = assemble(load_config(path, {override: " "}))

    for deployment, variable in ((by_reference, "WHEN"), (by_override, override)):
        (warning,) = deployment.warnings
        assert f"jobs[0 'x'].{key}: is empty (from the environment variable {variable}), so the job has no" in warning
        assert not deployment.jobs[0].has_schedule


def test_the_environment_may_name_a_declared_job_and_remove_its_schedule(
    deploy: Deploy, write: Write, tmp_path: Path
) -> None:
    write("app", "from gnomon import job\n@job(every='6h')\ndef sync(): ...")
    deploy("kernel.modules = ['app']")
    path = tmp_path / "gnomon.toml"
    path.write_text(f"{path.read_text()}\n[[jobs]]\nid = 'x'\nfunc = {{ env = 'JOB' }}\nevery = {{ env = 'EVERY' }}")

    deployment = assemble(load_config(path, {"JOB": "sync", "EVERY": ""}))

    assert [(job.id, job.every) for job in deployment.jobs] == [("sync", timedelta(hours=6)), ("x", None)]


@pytest.mark.parametrize("empty", ["cron = ''", "cron = ''\nat = ' '"])
def test_an_empty_schedule_beside_another_one_is_no_finding(deploy: Deploy, empty: str) -> None:
    deployment = deploy(f"[[jobs]]\nid = 'x'\nfunc = 'os:getpid'\nevery = '5m'\n{empty}")

    assert deployment.jobs[0].every == timedelta(minutes=5)
    assert deployment.warnings == []


def test_an_empty_schedule_removes_the_schedule_of_a_declared_job(deploy: Deploy, write: Write) -> None:
    write("app", "from gnomon import job\n@job(cron='0 6 * * *')\ndef sync(): ...")

    deployment = deploy("kernel.modules = ['app']\n[[jobs]]\nid = 'sync'\nfunc = 'sync'\ncron = ''")

    assert [job.cron for job in deployment.jobs] == [None]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("every", "360", timedelta(seconds=360)),
        ("timeout", "90", timedelta(seconds=90)),
        ("max_instances", "2", 2),
        ("paused", "yes", True),
        ("tags", "a,b", ["a", "b"]),
        ("name", "2026", "2026"),
        ("description", "true", "true"),
    ],
)
def test_keys_of_a_job_from_the_environment_have_their_types(
    deploy: Deploy, tmp_path: Path, key: str, text: str, value: object
) -> None:
    deploy()
    path = tmp_path / "gnomon.toml"
    head = path.read_text() + "\n[[jobs]]\nid = 'x'\nfunc = 'os:getpid'\n"

    path.write_text(f"{head}{key} = {{ env = 'VALUE' }}")
    (by_reference,) = assemble(load_config(path, {"VALUE": text})).jobs
    path.write_text(head)
    (by_override,) = assemble(load_config(path, {f"GNOMON__JOBS__X__{key.upper()}": text})).jobs

    assert getattr(by_reference, key) == getattr(by_override, key) == value


def test_options_of_plugins_from_the_environment_have_their_types(deploy: Deploy, write: Write, tmp_path: Path) -> None:
    write("calendar_plugin", CALENDAR)
    deploy("", ("calendar_plugin",))
    path = tmp_path / "gnomon.toml"
    path.write_text(
        path.read_text() + "\n[[jobs]]\nid = 'x'\nfunc = 'os:getpid'\ncalendar = { env = 'DAYS' }\n"
        "offset = { env = 'OFFSET' }"
    )

    (job,) = assemble(load_config(path, {"DAYS": "2026", "OFFSET": "7"})).jobs

    assert job.options == {"calendar": "2026", "offset": 7}


SECRET_LIKE = [
    'kwargs = { password = "x" }',
    'kwargs = { apiKey = "x" }',
    'kwargs = { db = { access_token = "x" } }',
    'kwargs = { tokens = ["x"] }',
    'kwargs = { value = "ghp_0123456789abcdefghij0123456789abcdef" }',
    'kwargs = { url = "postgres://app:pass@db/app" }',
    'args = ["hT7kQ2mZ9vXw4LpR8sNd3bYc"]',
    'args = ["9f86d081884c7d659a2feaa0c55ad015"]',
]
ORDINARY = [
    'kwargs = { market = "cn", path = "/var/lib/app/reports/2026/daily_report_v2.csv" }',
    'kwargs = { id = "123e4567-e89b-12d3-a456-426614174000" }',
    'kwargs = { module = "company.reports.monthly_statement_v2" }',
    "kwargs = { token_count = 5, has_password = false, tokens = [] }",
    'kwargs = { backup = "Backup-2026-11-28T18-00-00-full.tar.gz", cls = "MyCompany.Reports2.MonthlyStatement" }',
    'kwargs = { author = "anna", url = "https://example.org/a" }',
    'kwargs = { password = "" }',
]


@pytest.mark.parametrize("arguments", SECRET_LIKE)
def test_an_argument_that_looks_like_a_secret_is_a_warning(deploy: Deploy, write: Write, arguments: str) -> None:
    write("app", "def run(*args, **kwargs): ...")

    (warning,) = deploy(f"[[jobs]]\nid = 'x'\nfunc = 'app:run'\n{arguments}").warnings

    assert warning.startswith(f"jobs[0 'x'].{arguments.partition(' ')[0]}")
    assert "looks like a secret" in warning
    assert '{ env = "NAME" }' in warning
    assert "hT7k" not in warning


@pytest.mark.parametrize("arguments", ORDINARY)
def test_an_ordinary_argument_is_no_warning(deploy: Deploy, write: Write, arguments: str) -> None:
    write("app", "def run(*args, **kwargs): ...")

    assert deploy(f"[[jobs]]\nid = 'x'\nfunc = 'app:run'\n{arguments}").warnings == []


# --- groups and dependencies ---


def test_groups_of_the_config_are_those_of_its_jobs(deploy: Deploy) -> None:
    deployment = deploy(
        """
        [groups]
        warehouse = 2
        api = { limit = 4, rate = "100/m" }
        [[jobs]]
        id = "x"
        func = "json:dumps"
        args = [1]
        group = "api"
        """
    )

    assert {name: (group.limit, group.rate) for name, group in deployment.config.groups.items()} == {
        "warehouse": (2, None),
        "api": (4, "100/m"),
    }
    assert only(deployment).group == "api"


def test_unknown_groups_and_jobs_that_cannot_wait_for_others_are_problems_with_their_places(
    problems_of: Problems,
) -> None:
    def table(job_id: str, *keys: str) -> str:
        return "\n".join(["[[jobs]]", f'id = "{job_id}"', 'func = "json:dumps"', "args = [1]", *keys])

    text = "\n".join(
        [
            "[groups]\nwarehouse = 2",
            table("load", 'every = "1h"', 'group = "warehous"'),
            table("report", 'after = ["lode"]'),
            table("a", 'after = ["b"]'),
            table("b", 'after = ["a"]'),
        ]
    )

    problems = problems_of(text)

    assert [problem.partition(": job")[0] for problem in problems] == [
        "jobs[0 'load'].group",
        "jobs[1 'report'].after",
        "jobs[2 'a'].after",
        "jobs[3 'b'].after",
    ]
    assert "the group 'warehous' is not defined; did you mean 'warehouse'" in problems[0]
    assert "after names 'lode', and there is no such job; did you mean 'load'" in problems[1]
    assert "after makes a circle: a after b after a" in problems[2]
