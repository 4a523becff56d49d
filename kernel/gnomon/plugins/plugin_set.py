"""Make, check and hold the plugins of a kernel.

A plugin is an object with hooks: an instance of a class, or a module. pluggy knows who implements which hook; it never
calls one, since an error has to name its plugin and must not keep the others from being called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pluggy

from gnomon import hookspecs
from gnomon.conversion import convert
from gnomon.errors import PluginError
from gnomon.jobs.job import Job
from gnomon.plugins.discovery import FoundPlugin
from gnomon.plugins.hook_checks import HOOKS, hook_problem, marked_hooks, unmarked_hooks
from gnomon.ports import Store


class Plugin:
    """One plugin of a kernel.

    `durable` asks for a cursor that is kept in the store: the plugin sees every event at least once, across restarts.
    `job_options` is the Struct of the keys that it owns in jobs. Both come from attributes of the plugin, `durable` and
    `JobOptions`.
    """

    def __init__(self, name: str, instance: Any, hooks: pluggy.HookRelay, found: FoundPlugin | None) -> None:
        self.name = name
        self.object = instance
        self.distribution = found.distribution if found else None
        self.version = found.version if found else None
        self.path = _file_of(instance)
        self.durable = bool(getattr(instance, "durable", False))
        self.job_options = _struct_type(name, instance, "JobOptions")
        self.guard_problem: str | None = None
        self._hooks = hooks

    @property
    def problem(self) -> str | None:
        """What it says of itself, in its attribute `problem`, or why its guard gave no answer the last time."""
        try:
            said = getattr(self.object, "problem", None)
        except Exception as exc:  # noqa: BLE001 - it may be a property, and nobody's health is to fail for it
            return f"cannot say how it is doing: {type(exc).__name__}: {exc}"
        return said if isinstance(said, str) and said else self.guard_problem

    @property
    def hooks(self) -> list[str]:
        """The names of the hooks that it implements."""
        return [name for name in HOOKS if self.observers(name)]

    def observers(self, hook: str) -> list[pluggy.HookImpl]:
        """List its implementations of a hook in the order in which they are to be called."""
        # pluggy keeps those last that are called first; tryfirst and trylast are in there.
        caller: pluggy.HookCaller | None = getattr(self._hooks, hook, None)  # None: a hook of a plugin, without impls
        impls: list[pluggy.HookImpl] = caller.get_hookimpls() if caller else []
        return [impl for impl in reversed(impls) if impl.plugin is self.object]

    def stores(self) -> list[Store]:
        """Ask it for stores; PluginError where it fails."""
        stores: list[Store] = []

        def register(store: Store) -> None:
            if not isinstance(store, Store):
                raise TypeError(f"expected a gnomon.ports.Store, got {store!r}")
            stores.append(store)

        self.contribute("register_store", register)
        return stores

    def jobs(self) -> list[Job | dict[str, Any]]:
        """Ask it for jobs, whole ones or the keys of one; PluginError where it fails."""
        jobs: list[Job | dict[str, Any]] = []

        def register(job: Any = None, /, **keys: Any) -> None:
            declared = getattr(job, "__gnomon_job__", job)
            if (declared is None) != bool(keys) or not isinstance(declared, Job | None):
                raise TypeError(f"expected a Job, a function declared with @job, or keys by name; got {job!r}, {keys}")
            jobs.append(declared or keys)

        self.contribute("register_jobs", register)
        return jobs

    def contribute(self, hook: str, register: Callable[..., None]) -> None:
        """Call its implementation of a contribution hook; PluginError, with its name, for whatever that raises.

        The hook may be one that another plugin offers: it is implemented as `@hookimpl(optionalhook=True)`, and who
        offers it calls this for each of `kernel.plugins`.
        """
        for impl in self.observers(hook):
            try:
                returned = impl.function(*(register for _ in impl.argnames))
                if returned is not None:
                    raise TypeError(
                        f"it returned a {type(returned).__name__}, which nobody takes: call register(...) for each"
                    )
            except (Exception, SystemExit) as exc:  # whatever a stranger's hook raises, the start tells whose it was
                raise PluginError(self.name, f"failed in {hook}: {type(exc).__name__}: {exc}") from exc


class PluginSet:
    """The plugins of one kernel, in the order in which they were added. `directory` is what their paths count from."""

    def __init__(self, directory: Path | None = None) -> None:
        self.manager = pluggy.PluginManager("gnomon")
        self.manager.add_hookspecs(hookspecs)
        self._directory = directory
        self._plugins: dict[str, Plugin] = {}

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self._plugins.values())

    def __len__(self) -> int:
        return len(self._plugins)

    def __contains__(self, name: object) -> bool:
        return name in self._plugins

    def __getitem__(self, name: str) -> Plugin:
        return self._plugins[name]

    def add(
        self,
        plugin: Any,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        found: FoundPlugin | None = None,
    ) -> Plugin:
        """Add an object or a module, or a class, which is made from its settings.

        Raises ConfigError for settings that its `Config` does not allow, PluginError for everything else.
        """
        name = name or _name_of(plugin)
        if name in self._plugins:
            raise PluginError(name, "is there already: no two plugins can have one name")
        instance = _make(plugin, name, settings or {}, self._directory)
        added = Plugin(name, instance, self.manager.hook, found)
        self._check_hooks(added)
        try:
            self.manager.register(instance, name)
        except (ValueError, pluggy.PluginValidationError) as exc:
            raise PluginError(name, f"cannot be registered: {exc}") from exc
        self._plugins[name] = added
        return added

    def has_hook(self, hook: str) -> bool:
        """Whether any plugin implements that hook."""
        return bool(self._caller(hook).get_hookimpls())

    def implementations(self, hook: str) -> Iterator[tuple[Plugin, pluggy.HookImpl]]:
        """Yield the implementations of a hook, each with its plugin, in the order in which they are called."""
        for impl in reversed(self._caller(hook).get_hookimpls()):  # pluggy keeps those last that are called first
            yield self._plugins[impl.plugin_name], impl

    def _caller(self, hook: str) -> pluggy.HookCaller:
        caller: pluggy.HookCaller = getattr(self.manager.hook, hook)
        return caller

    def _check_hooks(self, plugin: Plugin) -> None:
        instance, unmarked = plugin.object, unmarked_hooks(plugin.object)
        problems = [f"has {hook} without @hookimpl, so nobody would call it" for hook in unmarked]
        for attribute in dir(instance):
            options = self.manager.parse_hookimpl_opts(instance, attribute)
            if options is not None:
                problem = hook_problem(options.get("specname") or attribute, getattr(instance, attribute), options)
                problems += [problem] if problem else []
        if not problems and not plugin.job_options and not marked_hooks(instance):
            problems = ["has no hooks, so nothing would ever call it; mark its functions with @gnomon.hookimpl"]
        if problems:
            raise PluginError(plugin.name, "; ".join(problems))


def _make(plugin: Any, name: str, settings: Mapping[str, Any], directory: Path | None) -> Any:
    config_type = _struct_type(name, plugin, "Config") if isinstance(plugin, type) else None
    if config_type is None and settings:
        given = ", ".join(settings)
        raise PluginError(name, f"has no `Config`, so nothing can be set in [plugins.{name}]; got {given}")
    if not isinstance(plugin, type):
        return plugin
    arguments = [] if config_type is None else [convert(settings, config_type, f"plugins.{name}", directory)]
    try:
        return plugin(*arguments)
    except (Exception, SystemExit) as exc:  # a stranger's constructor may raise anything
        raise PluginError(name, f"cannot be made: {type(exc).__name__}: {exc}") from exc


def _struct_type(name: str, plugin: Any, attribute: str) -> type[msgspec.Struct] | None:
    found = getattr(plugin, attribute, None)
    if found is None or (isinstance(found, type) and issubclass(found, msgspec.Struct)):
        return found
    raise PluginError(name, f"has a {attribute} that is {found!r}, expected a class derived from msgspec.Struct")


def _name_of(plugin: Any) -> str:
    if isinstance(plugin, ModuleType):
        return plugin.__name__
    return str(getattr(plugin, "__name__", None) or type(plugin).__name__)


def _file_of(instance: Any) -> Path | None:
    name = instance.__name__ if isinstance(instance, ModuleType) else type(instance).__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if file else None
