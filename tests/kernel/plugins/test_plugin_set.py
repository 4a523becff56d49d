import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from gnomon.deployment.config import Config
from gnomon.deployment.plugin_loading import list_plugins, load_plugins
from gnomon.errors import ConfigError, PluginError
from gnomon.hookspecs import hookimpl
from gnomon.jobs.decorator import job
from gnomon.jobs.job import Job
from gnomon.plugins.discovery import FoundPlugin, discover
from gnomon.plugins.plugin_set import PluginSet
from gnomon.stores.memory import MemoryStore

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
JOB = Job(id="x", func=print)
HOOK = """
from gnomon.hookspecs import hookimpl
@hookimpl
def on_failed(event): ...
"""

Install = Callable[..., None]
Write = Callable[[str, str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution that consists of one module."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(distribution: str, module: str, entry_points: str, metadata: str = "") -> None:
        (tmp_path / f"{distribution}.py").write_text(dedent(module), encoding="utf-8")
        info = tmp_path / f"{distribution}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.2\n{metadata}", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[gnomon.plugins]\n{entry_points}\n", encoding="utf-8")
        monkeypatch.delitem(sys.modules, distribution, raising=False)

    return install


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a one-file plugin."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return write


def find(name: str, paths: list[Path] | None = None) -> FoundPlugin:
    (found,) = [found for found in discover(paths or []) if found.name == name]
    return found


def enable(*names: str, paths: list[Path] | None = None, **sections: dict[str, Any]) -> Config:
    return Config(sections={name: {} for name in names} | sections, plugin_paths=paths or [])


# --- finding ---


def test_an_installed_plugin_is_found_without_being_imported(install: Install) -> None:
    install("zz_tidy", "raise RuntimeError('imported')", "tidy = zz_tidy")

    found = find("tidy")

    assert (found.distribution, found.version, found.problem) == ("zz_tidy", "1.2", None)
    assert "zz_tidy" not in sys.modules


def test_plugins_are_sorted_by_name_with_files_at_the_end(install: Install, write: Write) -> None:
    install("aa_dist", "", "zebra = aa_dist")
    install("zz_dist", "", "ant = zz_dist")
    file = write("aardvark.py", "")

    names = [found.name for found in discover([file])]

    assert [name for name in names if name in {"ant", "zebra", "aardvark"}] == ["ant", "zebra", "aardvark"]


def test_nobody_takes_the_name_of_another_plugin(install: Install, write: Write) -> None:
    install("zz_one", "", "pager = zz_one")
    install("zz_two", "", "pager = zz_two")
    file = write("pager.py", "")

    found = find("pager", [file])

    assert found.problem == f"is offered by zz_one 1.2 and by zz_two 1.2 and by {file}: uninstall or rename one"
    with pytest.raises(PluginError, match="plugin 'pager' is offered by zz_one"):
        found.load()


@pytest.mark.parametrize(("file", "name"), [("gnomon_tidy.py", "tidy"), ("tidy_up.py", "tidy_up")])
def test_a_file_is_named_after_its_stem(write: Write, file: str, name: str) -> None:
    path = write(file, "")

    assert find(name, [path]).source == path


@pytest.mark.parametrize(("file", "problem"), [("tidy.txt", "expected a .py file"), ("tidy.py", "does not exist")])
def test_what_is_no_file_with_a_plugin_is_told(tmp_path: Path, file: str, problem: str) -> None:
    with pytest.raises(PluginError, match=f"plugin 'tidy' cannot be loaded.*{problem}"):
        find("tidy", [tmp_path / file]).load()


def test_a_file_is_imported_under_its_stem(write: Write) -> None:
    path = write("one_file_plugin.py", "def job(): ...")

    module = find("one_file_plugin", [path]).load()

    assert sys.modules["one_file_plugin"] is module
    assert module.job.__module__ == "one_file_plugin"


def test_a_file_does_not_take_the_place_of_another_module(write: Write) -> None:
    path = write("json.py", "")

    with pytest.raises(PluginError, match=r"has the name of an imported module: rename the file"):
        find("json", [path]).load()


def test_a_file_that_cannot_be_imported_leaves_no_module(write: Write) -> None:
    path = write("half_a_plugin.py", "1 / 0")

    with pytest.raises(PluginError, match="plugin 'half_a_plugin' cannot be imported: ZeroDivisionError"):
        find("half_a_plugin", [path]).load()

    assert "half_a_plugin" not in sys.modules


def test_a_missing_driver_is_told_with_the_extra_to_install(install: Install) -> None:
    install("zz_mongo", "import nowhere_at_all", "mongodb = zz_mongo", "Provides-Extra: mongodb\n")

    with pytest.raises(PluginError) as caught:
        find("mongodb").load()

    assert str(caught.value) == (
        "plugin 'mongodb' cannot be imported: No module named 'nowhere_at_all'; "
        "install its dependencies: pip install 'zz_mongo[mongodb]'"
    )


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("import nowhere_at_all", "No module named 'nowhere_at_all'; is a distribution that it needs missing?"),
        ("raise SystemExit", "SystemExit"),
        ("", "AttributeError: module 'zz_broken' has no attribute 'Tidy'"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_told(install: Install, module: str, problem: str) -> None:
    install("zz_broken", module, "broken = zz_broken:Tidy", "Provides-Extra: mongodb\n")

    with pytest.raises(PluginError) as caught:
        find("broken").load()

    assert f"plugin 'broken' cannot be imported: {problem}" in str(caught.value)


# --- enabling ---


def test_a_section_enables_and_configures_a_plugin(install: Install) -> None:
    install(
        "zz_tidy",
        """
        import msgspec
        from gnomon.hookspecs import hookimpl
        class Tidy:
            class Config(msgspec.Struct):
                keep: int = 3
            def __init__(self, config):
                self.keep = config.keep
            @hookimpl
            def on_failed(self): ...
        """,
        "tidy = zz_tidy:Tidy\nother = zz_tidy",
    )

    plugins, problems = load_plugins(enable(tidy={"keep": 7}))

    assert problems == []
    assert [plugin.name for plugin in plugins] == ["tidy"]
    assert plugins["tidy"].object.keep == 7
    assert (plugins["tidy"].distribution, plugins["tidy"].version) == ("zz_tidy", "1.2")
    assert plugins["tidy"].path is not None
    assert plugins["tidy"].path.name == "zz_tidy.py"


def test_a_listed_file_is_enabled_without_a_section(write: Write) -> None:
    path = write("listed_plugin.py", "from gnomon.hookspecs import hookimpl\n@hookimpl\ndef on_event(event): ...")

    plugins, problems = load_plugins(enable(paths=[path]))

    assert problems == []
    assert plugins["listed_plugin"].hooks == ["on_event"]


def test_a_class_plugin_in_a_file_is_made_from_its_section(write: Write) -> None:
    path = write(
        "classy_plugin.py",
        """
        from __future__ import annotations
        import msgspec
        from gnomon.hookspecs import hookimpl
        class Plugin:
            class Config(msgspec.Struct):
                keep: int
            def __init__(self, config: Config) -> None:
                self.keep = config.keep
            @hookimpl
            def on_failed(self) -> None: ...
        """,
    )

    plugins, problems = load_plugins(enable(paths=[path], classy_plugin={"keep": "7"}))

    assert problems == []
    assert plugins["classy_plugin"].object.keep == 7


def test_a_broken_plugin_hurts_nobody_while_it_is_not_enabled(install: Install) -> None:
    install("zz_broken", "1 / 0", "broken = zz_broken")
    install("zz_tidy", HOOK, "tidy = zz_tidy")

    plugins, problems = load_plugins(enable("tidy"))

    assert problems == []
    assert "tidy" in plugins


def test_a_plugin_that_hangs_while_it_is_imported_is_named(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, Any]] = []
    is_told = threading.Event()

    def warning(event: str, **facts: Any) -> None:
        lines.append(facts)
        is_told.set()

    monkeypatch.setattr("gnomon.deployment.plugin_loading.SLOW_AFTER_S", 0.01)
    monkeypatch.setattr("gnomon.deployment.plugin_loading.log", SimpleNamespace(warning=warning))
    monkeypatch.setitem(sys.modules, "zz_gate", SimpleNamespace(wait=is_told.wait))
    install("zz_slow", f"import zz_gate\nassert zz_gate.wait(30)\n{HOOK}", "slow = zz_slow")

    _, problems = load_plugins(enable("slow"))

    assert problems == []
    assert lines == [{"plugin": "slow", "after_s": 0.01}]


def test_every_enabled_plugin_that_cannot_be_used_is_told(install: Install) -> None:
    install("zz_broken", "1 / 0", "broken = zz_broken")
    install("zz_tidy", "class Tidy: ...", "tidy = zz_tidy:Tidy")

    plugins, problems = load_plugins(enable("broken", tidy={"keep": 7}, tidi={}))

    assert len(plugins) == 0
    assert problems[:2] == [
        "plugin 'broken' cannot be imported: ZeroDivisionError: division by zero",
        "plugin 'tidy' has no `Config`, so nothing can be set in [plugins.tidy]; got keep",
    ]
    assert problems[2:] == ["plugins.tidi: there is no plugin 'tidi'; did you mean 'tidy'?"]


def test_a_section_of_a_plugin_like_no_other_is_told_with_those_that_are_installed(install: Install) -> None:
    install("zz_tidy", "", "tidy = zz_tidy")

    _, (problem,) = load_plugins(enable("qqqq"))

    assert problem.startswith("plugins.qqqq: there is no plugin 'qqqq'; installed plugins: ")
    assert "tidy" in problem


def test_the_survey_tells_the_state_of_every_plugin(install: Install, write: Write) -> None:
    hooks = """
        from gnomon.hookspecs import hookimpl
        @hookimpl
        def on_failed(event): ...
        @hookimpl(optionalhook=True)
        def register_routes(register): ...
        """
    install("zz_broken", "1 / 0", "broken = zz_broken")
    install("zz_lacking", "import zz_driver", "lacking = zz_lacking\nwanted = zz_lacking")
    install("zz_tidy", hooks, "tidy = zz_tidy\nspare = zz_tidy")
    file = write("surveyed.py", "class Plugin:\n    def __init__(self): 1 / 0")

    infos = {info.name: info for info in list_plugins(enable("tidy", "wanted", paths=[file]))}

    assert {name: infos[name].state for name in ("broken", "lacking", "spare", "surveyed", "tidy", "wanted")} == {
        "broken": "failed",
        "lacking": "incomplete",
        "spare": "installed",
        "surveyed": "failed",
        "tidy": "enabled",
        "wanted": "failed",
    }
    assert "No module named 'zz_driver'" in str(infos["lacking"].problem)
    assert infos["tidy"].hooks == ["on_failed", "register_routes"]
    assert infos["tidy"].origin == "zz_tidy 1.2"
    assert infos["surveyed"].problem == "plugin 'surveyed' cannot be created: ZeroDivisionError: division by zero"


# --- making ---


class Tidy:
    """A plugin with all that a plugin may have."""

    durable = True

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        keep: int = 3

    class JobOptions(msgspec.Struct):
        tidy: bool = False

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def connection(self) -> str:
        raise RuntimeError("not started")

    @hookimpl
    def on_failed(self) -> None: ...


def test_a_class_is_made_from_its_settings() -> None:
    plugin = PluginSet().add(Tidy, "tidy", {"keep": 7})

    assert plugin.object.config == Tidy.Config(keep=7)
    assert plugin.durable
    assert plugin.job_options is Tidy.JobOptions


def test_a_plugin_runs_with_the_leader_unless_it_names_another_role() -> None:
    plugins = PluginSet()
    plugins.add(SimpleNamespace(on_failed=takes_event, role="everywhere"), "page")
    plugins.add(SimpleNamespace(on_failed=takes_event), "alarm")
    plugins.add(SimpleNamespace(on_failed=takes_event, role="leader", durable=True), "diary")
    plugins.add(SimpleNamespace(on_failed=takes_event, role="everywhere", durable=False), "view")

    assert [plugin.name for plugin in plugins.of_role("leader")] == ["alarm", "diary"]
    assert [plugin.name for plugin in plugins.of_role("everywhere")] == ["page", "view"]


@pytest.mark.parametrize("role", ["follower", "Everywhere", "", None, 1, ["leader"]])
def test_a_role_that_does_not_exist_is_refused(role: object) -> None:
    plugins = PluginSet()

    with pytest.raises(PluginError, match=r'has a role that is .*, expected "leader" .* or "everywhere"') as caught:
        plugins.add(SimpleNamespace(on_failed=takes_event, role=role), "page")

    assert caught.value.plugin == "page"
    assert "page" not in plugins


def test_a_role_that_cannot_be_read_names_its_plugin() -> None:
    class Page:
        on_failed = staticmethod(takes_event)

        @property
        def role(self) -> str:
            raise RuntimeError("no role yet")

    with pytest.raises(PluginError, match=r"plugin 'page' has an attribute 'role' that cannot be read: .*no role yet"):
        PluginSet().add(Page(), "page")


def test_a_durable_plugin_cannot_run_everywhere() -> None:
    with pytest.raises(PluginError, match='durable = True and role = "everywhere": a durable plugin has one cursor'):
        PluginSet().add(SimpleNamespace(on_failed=takes_event, role="everywhere", durable=True), "page")


def test_wrong_settings_are_told_with_their_place() -> None:
    with pytest.raises(ConfigError) as caught:
        PluginSet().add(Tidy, "tidy", {"kep": 7})

    assert caught.value.problems == ["plugins.tidy.kep: unknown key; did you mean 'keep'?"]


def test_an_object_is_added_as_it_is() -> None:
    plugins = PluginSet()
    tidy = Tidy(Tidy.Config())

    plugin = plugins.add(tidy)

    assert plugin.name == "Tidy"
    assert plugin.object is tidy
    assert list(plugins) == [plugin]


def test_a_module_is_added_as_it_is() -> None:
    module = ModuleType("tidy_module")
    module.on_event = hookimpl(lambda event: None)  # type: ignore[attr-defined]

    plugin = PluginSet().add(module)

    assert (plugin.name, plugin.hooks, plugin.durable) == ("tidy_module", ["on_event"], False)


def test_two_plugins_cannot_have_one_name() -> None:
    plugins = PluginSet()
    plugins.add(SimpleNamespace(on_failed=takes_event), "tidy")

    with pytest.raises(PluginError, match="plugin 'tidy' is already there"):
        plugins.add(SimpleNamespace(on_failed=takes_event), "tidy")


def test_one_object_cannot_be_two_plugins() -> None:
    plugins = PluginSet()
    tidy = Tidy(Tidy.Config())
    plugins.add(tidy, "one")

    with pytest.raises(PluginError, match="plugin 'two' cannot be registered"):
        plugins.add(tidy, "two")


def test_a_config_that_is_no_struct_is_told() -> None:
    class Wrong:
        Config = dict

    with pytest.raises(PluginError, match="has a Config that is <class 'dict'>, expected a class derived from msgspec"):
        PluginSet().add(Wrong)


# --- hooks ---


def refused(**hooks: Any) -> str:
    plugins = PluginSet()
    with pytest.raises(PluginError) as caught:
        plugins.add(SimpleNamespace(**hooks), "tidy")
    assert len(plugins) == 0
    assert not plugins.manager.get_plugins()
    return str(caught.value)


@hookimpl
def takes_event(event: Any) -> None: ...


@hookimpl
async def awaits_event(event: Any) -> None: ...


@hookimpl(wrapper=True)
def wraps_event(event: Any) -> Any:
    return (yield)


@hookimpl
def yields_event(event: Any) -> Any:
    yield


@hookimpl
async def yields_for_life(kernel: Any) -> AsyncIterator[None]:
    yield


@hookimpl
@asynccontextmanager
async def lives(kernel: Any) -> AsyncIterator[None]:
    yield


@hookimpl(specname="on_event")
def renamed(replaying: bool) -> None: ...


def test_observation_hooks_are_plain_or_coroutine_functions() -> None:
    plugin = PluginSet().add(SimpleNamespace(on_failed=takes_event, on_event=awaits_event, lifespan=lives), "tidy")

    assert plugin.hooks == ["on_failed", "on_event", "lifespan"]


def test_a_misspelt_hook_is_refused_with_the_right_one() -> None:
    assert refused(on_faild=takes_event) == (
        "plugin 'tidy' implements 'on_faild', which is not a known hook; did you mean 'on_failed'?"
    )


@pytest.mark.parametrize("hook", ["register_jobs", "register_store"])
def test_a_contribution_hook_that_cannot_register_is_refused(hook: str) -> None:
    def nothing() -> None: ...

    assert f"has {hook} without the argument 'register'" in refused(**{hook: hookimpl(nothing)})


@pytest.mark.parametrize(
    "function",
    [hookimpl(optionalhook=True)(lambda register: None), lambda register: None],
    ids=["optional hook", "not marked"],
)
def test_a_function_that_is_nearly_a_hook_is_reported(function: Any) -> None:
    with capture_logs() as logs:
        PluginSet().add(SimpleNamespace(on_failed=takes_event, register_job=function, register_routes=function), "tidy")

    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert (line["plugin"], line["function"], line["did_you_mean"]) == ("tidy", "register_job", "register_jobs")


def test_an_optional_hook_may_be_one_of_another_version() -> None:
    plugin = PluginSet().add(SimpleNamespace(on_tomorrow=hookimpl(optionalhook=True)(lambda event: None)), "tidy")

    assert plugin.hooks == []


def test_a_wrapper_is_refused_with_what_to_use_instead() -> None:
    assert "use `lifespan`" in refused(on_event=wraps_event)


def test_a_hook_that_yields_is_refused() -> None:
    assert refused(on_event=yields_event) == "plugin 'tidy' yields in on_event: it must not"


def test_a_lifespan_that_was_not_decorated_is_told_how() -> None:
    assert "put @contextlib.asynccontextmanager under its @hookimpl" in refused(lifespan=yields_for_life)


@pytest.mark.parametrize("hook", ["guard", "register_store", "register_jobs", "register_routes", "lifespan"])
def test_a_hook_that_nobody_awaits_is_no_coroutine_function(hook: str) -> None:
    @hookimpl(optionalhook=True)
    async def function() -> None: ...

    assert (
        refused(**{hook: function})
        == f"plugin 'tidy' has an `async def {hook}`, which is never awaited: make it a plain `def`"
    )


@pytest.mark.parametrize(
    ("function", "asked"),
    [
        (lambda evnt: None, "'evnt'"),
        (lambda event, replaying=False: None, "'replaying=False'"),
        (lambda *, event: None, "'event'"),
        (lambda *args: None, "'*args'"),
        (lambda **kwargs: None, "'**kwargs'"),
    ],
    ids=["unknown", "with default", "by keyword only", "any", "any by keyword"],
)
def test_arguments_that_would_never_be_given_are_refused(function: Callable[..., None], asked: str) -> None:
    problem = refused(on_event=hookimpl(function))

    assert (
        f"plugin 'tidy' has the argument {asked} in on_event; possible are event, replaying, without defaults"
        in problem
    )


def test_all_wrong_hooks_of_a_plugin_are_told() -> None:
    problem = refused(on_faild=takes_event, on_event=yields_event)

    assert "yields in on_event" in problem
    assert "implements 'on_faild'" in problem


def test_properties_are_not_looked_into() -> None:
    assert PluginSet().add(Tidy(Tidy.Config())).hooks == ["on_failed"]


def test_a_hook_without_its_mark_is_refused() -> None:
    def on_started() -> None: ...

    assert refused(on_failed=takes_event, on_started=on_started) == (
        "plugin 'tidy' has on_started without @hookimpl, so it would never be called"
    )


def test_a_plugin_without_hooks_is_refused() -> None:
    assert refused(helper=print) == (
        "plugin 'tidy' has no hooks, so it would never be called; mark its functions with @gnomon.hookimpl"
    )


def test_a_hook_of_another_plugin_that_is_not_marked_so_is_told_how() -> None:
    def register_routes(register: Any) -> None: ...

    assert "takes @hookimpl(optionalhook=True)" in refused(register_routes=hookimpl(register_routes))


@pytest.mark.parametrize("hook", ["register_jobs", "register_routes"])
def test_what_contributes_takes_register_and_no_more(hook: str) -> None:
    def function(app: Any) -> None: ...

    assert "has the argument 'app" in refused(**{hook: hookimpl(optionalhook=True)(function)})


def test_observers_come_in_the_order_in_which_they_are_called() -> None:
    @hookimpl(specname="on_event", tryfirst=True)
    def first(event: Any) -> None: ...

    @hookimpl(specname="on_event", trylast=True)
    def last(event: Any) -> None: ...

    plugins = PluginSet()
    plugins.add(SimpleNamespace(on_event=takes_event), "other")
    plugin = plugins.add(SimpleNamespace(a=last, b=renamed, c=first), "tidy")

    assert [impl.function for impl in plugin.observers("on_event")] == [first, renamed, last]
    assert [impl.argnames for impl in plugin.observers("on_event")] == [("event",), ("replaying",), ("event",)]
    assert plugin.observers("on_failed") == []


# --- contributions ---


def contributing(hook: str, function: Callable[..., Any]) -> Any:
    return PluginSet().add(SimpleNamespace(**{hook: hookimpl(function)}), "tidy")


def test_a_plugin_offers_a_store() -> None:
    store = MemoryStore()

    assert contributing("register_store", lambda register: register(store)).stores() == [store]


def test_what_is_no_store_is_refused() -> None:
    plugin = contributing("register_store", lambda register: register("sqlite:///x.db"))

    with pytest.raises(
        PluginError, match=r"plugin 'tidy' failed in register_store: TypeError: expected a gnomon.ports.Store"
    ):
        plugin.stores()


def test_a_plugin_offers_jobs_in_three_ways() -> None:
    @job(id="declared")
    def declared() -> None: ...

    def register_jobs(register: Callable[..., None]) -> None:
        register(JOB)
        register(declared)
        register(id="keys", func=print)

    offers = contributing("register_jobs", register_jobs).jobs()

    assert offers == [JOB, vars(declared)["__gnomon_job__"], {"id": "keys", "func": print}]


@pytest.mark.parametrize(
    "offer",
    [lambda register: register(), lambda register: register(print), lambda register: register(JOB, id="y")],
    ids=["nothing", "not declared", "both"],
)
def test_what_is_no_job_is_refused(offer: Callable[..., None]) -> None:
    with pytest.raises(PluginError, match="plugin 'tidy' failed in register_jobs: TypeError: expected a Job"):
        contributing("register_jobs", offer).jobs()


def test_a_contribution_that_raises_names_its_plugin() -> None:
    with pytest.raises(
        PluginError, match=r"plugin 'tidy' failed in register_jobs: ZeroDivisionError: division by zero"
    ):
        contributing("register_jobs", lambda register: 1 / 0).jobs()


def test_a_contribution_that_ends_the_process_names_its_plugin() -> None:
    with pytest.raises(PluginError, match=r"plugin 'tidy' failed in register_jobs: SystemExit: 3"):
        contributing("register_jobs", lambda register: sys.exit(3)).jobs()


def test_jobs_that_are_returned_where_they_are_to_be_registered_are_refused() -> None:
    with pytest.raises(PluginError, match=r"failed in register_jobs: TypeError: it returned list, .*call register\("):
        contributing("register_jobs", lambda register: [JOB]).jobs()
