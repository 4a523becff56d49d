"""Creates, checks and keeps the plugins of a kernel.

A plugin is an object with hooks: an instance of a class, or a module. pluggy only knows which plugin implements which
hook. It never calls one, because an error must name its plugin and must not prevent the calls of the others.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import msgspec
import pluggy

from gnomon import hookspecs
from gnomon.conversion import convert
from gnomon.errors import ConfigError, ParameterError, PluginError
from gnomon.hookspecs import OBSERVATION_HOOKS
from gnomon.jobs.job import Job
from gnomon.logs import get_logger
from gnomon.plugins.calls import PluginCallError, call_within, contained, describe
from gnomon.plugins.discovery import FoundPlugin, offered_name
from gnomon.plugins.hook_checks import HOOKS, hook_problem, marked_hooks, near_misses, unmarked_hooks
from gnomon.ports import Store
from gnomon.runners.base import Runner
from gnomon.safe_text import class_module, class_name, exact, safe_repr, type_name

log = get_logger("gnomon.plugins")

START_LIMIT_S = 60.0
"""For a call of a plugin during the start: its constructor, a contribution hook."""
PROBLEM_LIMIT_S = 1.0
"""For a plugin's attribute `problem`, which may be a property and is read on the kernel's event loop."""

PluginRole = Literal["leader", "everywhere"]
"""Where a plugin runs: with the kernel that leads, or in every process on the log."""


class Plugin:
    """One plugin of a kernel.

    `role` says where the plugin runs: once, with the kernel that leads ("leader"), or in each process on the log
    ("everywhere"). `durable` plugins have a cursor in the store: they see every event at least once, across restarts.
    `job_options` is the Struct of the keys that the plugin adds to jobs. They are attributes of the plugin: `role`,
    `durable` and `JobOptions`.
    `config` has the settings that it was created with, where the set created it.
    """

    def __init__(
        self,
        name: str,
        instance: Any,
        hooks: pluggy.HookRelay,
        found: FoundPlugin | None,
        config: msgspec.Struct | None = None,
    ) -> None:
        self.name = name
        self.object = instance
        self.config = config
        self.distribution = found.distribution if found else None
        self.version = found.version if found else None
        self.path = _file_of(instance)
        self.durable = bool(_attribute(name, instance, "durable", False))
        self.role = _role(name, instance, durable=self.durable)
        self.job_options = _struct_type(name, instance, "JobOptions")
        self.guard_problem: str | None = None
        self.is_added = False  # while a kernel runs, in any role
        self._is_reading_problem = False
        self._hooks = hooks
        self._jobs: list[Job | dict[str, Any]] | None = None
        self._runners: list[Runner] | None = None

    @property
    def problem(self) -> str | None:
        """The plugin's attribute `problem`, else the problem of its guard's last call, else None.

        The attribute may be a property, so code of the plugin, which must not hold up or break the kernel's health.
        """
        if self._is_reading_problem:
            return "its attribute `problem` does not return"
        try:
            with contained():
                own = self._read_problem() if self._has_plain_problem() else self._call_problem()
        except PluginCallError as exc:
            return f"its attribute `problem` cannot be read: {exc}"
        return own or self.guard_problem

    def _has_plain_problem(self) -> bool:
        kind = type(self.object)
        defaults: tuple[Any, ...] = (object.__getattribute__, ModuleType.__getattribute__)
        is_plain = kind.__getattribute__ in defaults
        found = inspect.getattr_static(self.object, "problem", None)
        return is_plain and not hasattr(kind, "__getattr__") and not hasattr(type(found), "__get__")

    def _call_problem(self) -> str:
        self._is_reading_problem = True
        return call_within(PROBLEM_LIMIT_S, f"problem of plugin {self.name}", self._read_problem)

    def _read_problem(self) -> str:
        try:
            found = getattr(self.object, "problem", None)
            return exact(found) if isinstance(found, str) else ""
        finally:
            self._is_reading_problem = False

    @property
    def is_of_leader(self) -> bool:
        """Whether it runs with the kernel that leads alone: it receives events or has a lifespan there."""
        return self.role == "leader" and any(self.observers(hook) for hook in (*OBSERVATION_HOOKS, "lifespan"))

    @property
    def hooks(self) -> list[str]:
        """The names of the hooks that it implements."""
        return [name for name in HOOKS if self.observers(name)]

    def observers(self, hook: str) -> list[pluggy.HookImpl]:
        """Return its implementations of a hook in the order in which they are called."""
        # pluggy returns them in reverse order of calling, with tryfirst and trylast applied.
        caller: pluggy.HookCaller | None = getattr(self._hooks, hook, None)  # None: not implemented
        impls: list[pluggy.HookImpl] = caller.get_hookimpls() if caller else []
        return [impl for impl in reversed(impls) if impl.plugin is self.object]

    def stores(self) -> list[Store]:
        """Return the stores that it registers; raise PluginError if that fails."""
        stores: list[Store] = []

        def register(store: Store) -> None:
            if not isinstance(store, Store):
                raise TypeError(f"expected a gnomon.ports.Store, got {safe_repr(store)}")
            stores.append(store)

        self.contribute("register_store", register)
        return stores

    def jobs(self) -> list[Job | dict[str, Any]]:
        """Return the jobs that it registers, as Jobs or as keys of one; raise PluginError if that fails.

        The hook is called once: a reload uses the jobs that the plugin registered before it was started.
        """
        if self._jobs is not None:
            return self._jobs
        jobs: list[Job | dict[str, Any]] = []

        def register(job: Any = None, /, **keys: Any) -> None:
            declared = getattr(job, "__gnomon_job__", job)
            if (declared is None) != bool(keys) or not isinstance(declared, Job | None):
                got = f"{safe_repr(job)}, {safe_repr(keys)}"
                raise TypeError(f"expected a Job, a function declared with @job, or keys by name; got {got}")
            jobs.append(declared or keys)

        self.contribute("register_jobs", register)
        self._jobs = jobs
        return jobs

    def runners(self) -> list[Runner]:
        """Return the runners that it registers; raise PluginError if that fails. The hook is called once."""
        if self._runners is None:
            runners: list[Runner] = []

            def register(runner: Runner) -> None:
                if not isinstance(runner, Runner):
                    raise TypeError(f"expected a gnomon.runners.base.Runner, got {safe_repr(runner)}")
                runners.append(runner)

            self.contribute("register_runners", register)
            self._runners = runners
        return self._runners

    def contribute(self, hook: str, register: Callable[..., None]) -> None:
        """Call its implementation of a contribution hook, in a thread; raise PluginError if it fails or takes too long.

        The hook may be another plugin's: it is implemented with `@hookimpl(optionalhook=True)`, and the plugin that
        defines it calls this method for each of `kernel.plugins`.
        """
        for impl in self.observers(hook):
            try:
                call_within(START_LIMIT_S, f"{hook} of plugin {self.name}", _contribute, impl, register)
            except PluginCallError as exc:
                raise PluginError(self.name, f"failed in {hook}: {exc}") from exc.__cause__


def as_plugin_set(plugins: PluginSet | Mapping[str, Any] | Iterable[Any]) -> PluginSet:
    """Return a set of plugins: the one that is given, or one of these objects, modules and classes.

    A mapping has their names. Without it, a plugin has the name of its entry point, which is also the name of its
    section in a config, and a plugin without an entry point that of its class or module.
    """
    if isinstance(plugins, PluginSet):
        return plugins
    made = PluginSet()
    if isinstance(plugins, Mapping):
        for name, plugin in plugins.items():
            made.add(plugin, name)
    elif isinstance(plugins, str | bytes) or not isinstance(plugins, Iterable):
        raise ParameterError(
            "plugins",
            f"plugins: expected a list of plugins, or a mapping with their names, got {safe_repr(plugins)}; write "
            "[...] around a single one",
        )
    else:
        for plugin in plugins:
            made.add(plugin)
    return made


class PluginSet:
    """The plugins of one kernel, in the order in which they were added. Their paths are relative to `directory`."""

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

    def of_role(self, role: PluginRole) -> list[Plugin]:
        """Return the plugins of one role, in the order in which they were added."""
        return [plugin for plugin in self if plugin.role == role]

    def add(
        self,
        plugin: Any,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        found: FoundPlugin | None = None,
    ) -> Plugin:
        """Add an object, a module, or a class, which is instantiated with its settings.

        Raise ConfigError for settings that its `Config` rejects, PluginError for every other problem.
        """
        name = name or _name_of(plugin)
        try:
            return self._add(plugin, name, settings or {}, found)
        except (PluginError, ConfigError):
            raise
        except BaseException as exc:  # what a plugin is asked outside of the calls below, such as its __class__
            raise PluginError(name, f"cannot be added: {describe(exc)}") from exc

    def _add(self, plugin: Any, name: str, settings: Mapping[str, Any], found: FoundPlugin | None) -> Plugin:
        if name in self._plugins:
            raise PluginError(
                name,
                "is already there: two plugins cannot have the same name; give each its own, "
                f"such as plugins={{'{name}': ..., '{name}-2': ...}}",
            )
        instance, config = _make(plugin, name, settings, self._directory)
        added = Plugin(name, instance, self.manager.hook, found, config)
        try:
            # Both read all attributes, and properties are code of the plugin.
            problems = call_within(START_LIMIT_S, f"hooks of plugin {name}", self._hook_problems, added)
            if not problems:
                call_within(START_LIMIT_S, f"registration of plugin {name}", self.manager.register, instance, name)
        except PluginCallError as exc:
            cause = exc.__cause__
            problem = cause if isinstance(cause, ValueError | pluggy.PluginValidationError) else exc
            raise PluginError(name, f"cannot be registered: {problem}") from cause
        if problems:
            raise PluginError(name, "; ".join(problems))
        self._plugins[name] = added
        return added

    def remove(self, name: str) -> None:
        """Remove a plugin, which must not be running; does nothing for an unknown name."""
        if (plugin := self._plugins.pop(name, None)) is not None:
            self.manager.unregister(plugin.object, name)

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

    def _hook_problems(self, plugin: Plugin) -> list[str]:
        instance, unmarked = plugin.object, unmarked_hooks(plugin.object)
        problems = [f"has {hook} without @hookimpl, so it would never be called" for hook in unmarked]
        for attribute in dir(instance):
            options = self.manager.parse_hookimpl_opts(instance, attribute)
            if options is not None:
                problem = hook_problem(options.get("specname") or attribute, getattr(instance, attribute), options)
                problems += [problem] if problem else []
        if not problems and not plugin.job_options and not marked_hooks(instance):
            problems = ["has no hooks, so it would never be called; mark its functions with @gnomon.hookimpl"]
        for function, hook in near_misses(instance) if not problems else ():
            message = "a plugin has a function that is not a hook of the kernel"
            log.warning(message, plugin=plugin.name, function=function, did_you_mean=hook)
        return problems


def _make(
    plugin: Any, name: str, settings: Mapping[str, Any], directory: Path | None
) -> tuple[Any, msgspec.Struct | None]:
    """Return the object of a plugin, and its settings as its `Config`."""
    config_type = _struct_type(name, plugin, "Config") if isinstance(plugin, type) else None
    if config_type is None and settings:
        given = ", ".join(settings)
        raise PluginError(name, f"has no `Config`, so nothing can be set in [plugins.{name}]; got {given}")
    if not isinstance(plugin, type):
        return plugin, None

    def make() -> tuple[Any, msgspec.Struct | None]:  # both the Config and the constructor are code of the plugin
        if config_type is None:
            return plugin(), None
        config = convert(settings, config_type, f"plugins.{name}", directory)
        return plugin(config), config

    try:
        return call_within(START_LIMIT_S, f"constructor of plugin {name}", make)
    except PluginCallError as exc:
        if isinstance(exc.__cause__, ConfigError):
            raise exc.__cause__ from None
        raise PluginError(name, f"cannot be created: {exc}") from exc.__cause__


def _contribute(impl: pluggy.HookImpl, register: Callable[..., None]) -> None:
    returned = impl.function(*(register for _ in impl.argnames))
    if returned is not None:
        raise TypeError(f"it returned {type_name(returned)}, which is ignored: call register(...) for each item")


def _attribute(name: str, plugin: Any, attribute: str, default: Any) -> Any:
    """Read an attribute, which may be a property, so code of the plugin."""
    try:
        return call_within(START_LIMIT_S, f"{attribute} of plugin {name}", getattr, plugin, attribute, default)
    except PluginCallError as exc:
        raise PluginError(name, f"has an attribute {attribute!r} that cannot be read: {exc}") from exc.__cause__


def _role(name: str, plugin: Any, *, durable: bool) -> PluginRole:
    found = _attribute(name, plugin, "role", "leader")
    roles: tuple[PluginRole, ...] = get_args(PluginRole)
    role = next((role for role in roles if isinstance(found, str) and exact(found) == role), None)
    if role is None:
        raise PluginError(
            name,
            f'has a role that is {safe_repr(found)}, expected "leader" (it runs once, with the kernel that leads) or '
            '"everywhere" (it runs in each process on the log)',
        )
    if role == "everywhere" and durable:
        raise PluginError(
            name,
            'has durable = True and role = "everywhere": a durable plugin has one cursor for the log and runs once, '
            "with the kernel that leads; remove one of the two",
        )
    return role


def _struct_type(name: str, plugin: Any, attribute: str) -> type[msgspec.Struct] | None:
    found = _attribute(name, plugin, attribute, None)
    if found is None or (isinstance(found, type) and issubclass(found, msgspec.Struct)):
        return found
    raise PluginError(
        name, f"has a {attribute} that is {safe_repr(found)}, expected a class derived from msgspec.Struct"
    )


def _name_of(plugin: Any) -> str:
    """Return the name of its entry point, else `__name__`, else the name of the class.

    Reading `__name__` may run code of the plugin.
    """
    kind = type(plugin)
    is_itself = issubclass(kind, type | ModuleType)
    if (offered := offered_name(plugin if is_itself else kind)) is not None:
        return offered
    try:
        name = getattr(plugin, "__name__", None)
    except BaseException:  # noqa: BLE001 - a plugin with an unreadable name still has a class
        name = None
    if isinstance(name, str) and name:
        return exact(name)
    return class_name(plugin if issubclass(kind, type) else kind).rpartition(".")[2]


def _file_of(instance: Any) -> Path | None:
    kind = type(instance)
    name = instance.__dict__.get("__name__") if issubclass(kind, ModuleType) else class_module(kind)
    file = getattr(sys.modules.get(str(name)), "__file__", None)
    return Path(file) if isinstance(file, str) else None
