"""The reference pages have everything that there is, and nothing that there is not."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import runpy
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MemberDescriptorType
from typing import Any, get_args

import click
import msgspec
import pytest

import gnomon
import gnomon_chores
from gnomon import hookspecs
from gnomon.api import JobView, KernelApi, LiveRun, Triggered
from gnomon.cli import main
from gnomon.config_table import ConfigTable
from gnomon.conversion import Secret
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import KernelConfig, load_config
from gnomon.domain import events
from gnomon.domain.events import DeclaredStep, Event
from gnomon.domain.kernel_health import GroupHealth, Health, PluginHealth
from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.run_exits import RunCancelled, RunSnoozed
from gnomon.domain.workers import QueueState, WorkerState, WorkerView
from gnomon.durations import Duration
from gnomon.errors import GnomonError
from gnomon.jobs.groups import Group
from gnomon.jobs.job import Job, Limits, ProgressPattern, Retry
from gnomon.log_api import LogApi
from gnomon.plugins.hook_checks import HOOKS

ROOT = Path(__file__).parents[2]
Sections = Callable[[str], dict[str, str]]
Table = Callable[[str], dict[str, list[str]]]


def plugins_of_ours() -> dict[str, Any]:
    """Load the plugins that pyproject.toml names: what is installed may be more."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = project["entry-points"]["gnomon.plugins"]
    return {name: EntryPoint(name, target, "gnomon.plugins").load() for name, target in named.items()}


def structs_by_section(title: str, attribute: str) -> dict[str, type[msgspec.Struct]]:
    found = {title.format(name): getattr(plugin, attribute, None) for name, plugin in plugins_of_ours().items()}
    return {section: struct for section, struct in found.items() if struct is not None and struct.__struct_fields__}


CONFIG_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "[kernel]": KernelConfig,
    "[groups]": Group,
    "[[jobs]]": Job,
    "retry": Retry,
    "limits": Limits,
    "steps": DeclaredStep,
    "progress_patterns": ProgressPattern,
    **structs_by_section("[plugins.{}]", "Config"),
    **structs_by_section("Job keys of the plugin {}", "JobOptions"),
}


def structs_in(expected: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        yield expected
        yield from (one for field in msgspec.structs.fields(expected) for one in structs_in(field.type))
    yield from (one for member in get_args(expected) for one in structs_in(member))


def plain(text: str) -> str:
    return " ".join(text.split())


def default_of(field: msgspec.structs.FieldInfo) -> str:
    """Write a default as the tables do."""
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, Retry):
        return f"`{{ attempts = {value.attempts} }}`"
    if value is None:
        return "none"
    return f"`{json.dumps(str(value) if isinstance(value, Duration | Path) else value)}`"


def test_every_table_with_a_secret_takes_plain_text_in_code() -> None:
    tables = {table for struct in CONFIG_SECTIONS.values() for table in structs_in(struct)}
    with_secrets = {
        table
        for table in tables
        if any(Secret in {one.type, *get_args(one.type)} for one in msgspec.structs.fields(table))
    }

    assert len(with_secrets) >= 8
    assert [table for table in with_secrets if type(table) is not type(ConfigTable)] == []


# Hooks


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_its_exact_signature_as_heading_and_its_docstring_below(hook: str, reference: Sections) -> None:
    spec = getattr(hookspecs, hook)
    signature = str(inspect.signature(spec)).replace("'", "")

    section = reference("hooks.md")[f"`{hook}{signature}`"]

    assert plain(inspect.getdoc(spec) or "") in plain(section)
    assert "```python" in section


def test_no_hook_is_told_that_there_is_not(reference: Sections) -> None:
    told = [title.strip("`").partition("(")[0] for title in reference("hooks.md") if title.startswith("`")]

    assert told == list(HOOKS)


# The kernel in code


def test_the_kernel_page_has_every_method_with_its_signature_and_docstring(reference: Sections) -> None:
    of_both = (vars(KernelApi) | vars(LogApi)).items()
    methods = [method for name, method in of_both if inspect.isfunction(method) and name[0] != "_"]
    signatures = [re.sub(r"\(self(, )?", "(", str(inspect.signature(method)).replace("'", "")) for method in methods]

    sections = {title: text for title, text in reference("kernel.md").items() if title.startswith("`")}

    titles = [f"`{method.__name__}{signature}`" for method, signature in zip(methods, signatures, strict=True)]
    assert list(sections) == titles
    for method, title in zip(methods, titles, strict=True):
        assert plain(inspect.getdoc(method) or "") in plain(sections[title])


RECORDS = [
    GroupHealth,
    Health,
    JobView,
    KernelMember,
    LiveRun,
    PluginHealth,
    QueueState,
    Triggered,
    WorkerState,
    WorkerView,
    gnomon.JobState,
    gnomon.LogLine,
]


@pytest.mark.parametrize("record", RECORDS)
def test_the_kernel_page_has_every_field_of_a_record(
    record: type[msgspec.Struct], reference: Sections, table: Table
) -> None:
    rows = table(reference("kernel.md")["Records"])

    assert rows[record.__name__][0] == ", ".join(f"`{field}`" for field in record.__struct_fields__)


# The config file


@pytest.mark.parametrize("section", CONFIG_SECTIONS)
def test_a_section_of_the_config_has_every_key_with_its_default(
    section: str, reference: Sections, table: Table
) -> None:
    fields = {field.encode_name: default_of(field) for field in msgspec.structs.fields(CONFIG_SECTIONS[section])}

    told = {key: default for key, (_, default, *_) in table(reference("config.md")[section]).items()}

    assert told == fields


@pytest.mark.parametrize("plugin", plugins_of_ours())
def test_a_plugin_of_ours_has_a_section(plugin: str, reference: Sections) -> None:
    assert f"[plugins.{plugin}]" in reference("config.md")


def test_the_folder_that_a_path_is_counted_from_is_the_one_that_is_told(
    reference: Sections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    config = tmp_path / "gnomon.toml"
    config.write_text("[plugins.sqlite]\npath = 'gnomon.db'\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "elsewhere")

    store = assemble(load_config(config, {})).store

    folders = {tmp_path: "the folder of the config file", tmp_path / "elsewhere": "the working folder"}
    folder = folders[vars(store)["path"].parent]
    section = reference("config.md")["What relative paths are relative to"]
    assert f"| a setting of a plugin whose type is `Path` | {folder} |" in section


def test_every_word_that_a_policy_may_have_is_told(reference: Sections) -> None:
    section = reference("config.md")["[[jobs]]"]

    words = [word for key in ("catch_up", "overlap", "runner") for word in literals(Job, key)]

    assert [word for word in words if f'`"{word}"`' not in section] == []


def literals(struct: type[msgspec.Struct], key: str) -> list[str]:
    field = next(field for field in msgspec.structs.fields(struct) if field.name == key)
    members = [field.type, *get_args(field.type)]
    return list(dict.fromkeys(word for one in members for word in (one, *get_args(one)) if isinstance(word, str)))


# Events


def own_fields(event_type: type[Event]) -> dict[str, str]:
    shared = set(Event.__struct_fields__) if event_type is not Event else set()
    fields = [field for field in msgspec.structs.fields(event_type) if field.name not in shared]
    return {field.encode_name: default_of(field) for field in fields}


@pytest.mark.parametrize("event_type", [Event, *events.ALL_EVENTS], ids=lambda event_type: event_type.__name__)
def test_an_event_has_every_field_with_its_default(event_type: type[Event], reference: Sections, table: Table) -> None:
    title = "Event" if event_type is Event else events.wire_name(event_type)
    section = reference("events.md")[title]
    fields = section.partition("| reason |")[0]

    told = {name: default for name, (_, default, *_) in table(fields).items()}

    assert told == own_fields(event_type)
    assert event_type is Event or f"`{event_type.__name__}`" in section


@pytest.mark.parametrize("event_type", [events.Failed, events.Missed])
def test_every_reason_has_a_row(event_type: type[Event], reference: Sections, table: Table) -> None:
    section = reference("events.md")[events.wire_name(event_type)]

    told = table(section.partition("| reason |")[2])

    assert sorted(told) == sorted(literals(event_type, "reason"))


@pytest.mark.parametrize(("event_name", "hook"), hookspecs.OBSERVATIONS.items())
def test_an_event_names_its_hook(event_name: str, hook: str, reference: Sections) -> None:
    sections = reference("events.md")

    section = sections["Events of a job"] if event_name.startswith("job_") else sections[event_name]

    assert f"`{hook}`" in section


# The command line


def commands(group: click.Group, path: str = "gnomon") -> Iterator[tuple[str, click.Command]]:
    yield path, group
    with click.Context(group) as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            if isinstance(command, click.Group):
                yield from commands(command, f"{path} {name}")
            elif command is not None:
                yield f"{path} {name}", command


ALL_COMMANDS = dict(commands(main))


@pytest.fixture(scope="module")
def help_of() -> Callable[[str], str]:
    """Return the help from the script that writes it into the page."""
    found: Callable[[str], str] = runpy.run_path(str(ROOT / "docs/write_cli_reference.py"))["help_of"]
    return found


@pytest.mark.parametrize("path", ALL_COMMANDS)
def test_a_command_has_the_help_of_today(path: str, reference: Sections, help_of: Callable[[str], str]) -> None:
    section = reference("cli.md")[path]

    # Words and not lines: another version of click may fold them elsewhere.
    is_there = plain(f"$ {path} --help {help_of(path.removeprefix('gnomon'))}") in plain(section)

    assert is_there, "run: python docs/write_cli_reference.py"


@pytest.mark.parametrize("path", ALL_COMMANDS)
def test_every_option_of_a_command_has_its_line(path: str, reference: Sections) -> None:
    section = reference("cli.md")[path]

    shown = [parameter for parameter in ALL_COMMANDS[path].params if not getattr(parameter, "hidden", False)]
    options = [option for parameter in shown for option in parameter.opts if option[0] == "-"]

    assert [option for option in options if option not in section] == []


def test_no_command_is_told_that_there_is_not(reference: Sections) -> None:
    told = {title for title in reference("cli.md") if title.startswith("gnomon")}

    assert told == set(ALL_COMMANDS)


# Errors


def errors_of(package: Any, root: type[BaseException]) -> set[type[BaseException]]:
    """Find the errors that a package defines; modules that are run, and not imported, are left out."""
    names = [name for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    programs = ("__main__", "pytest_plugin")
    modules = [importlib.import_module(name) for name in names if not name.endswith(programs)]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return {one for one in found if issubclass(one, root) and one.__module__.startswith(package.__name__)}


def told_errors(section: str, table: Table) -> dict[str, set[str]]:
    return {name: {base.strip("` ") for base in bases.split(",")} for name, (bases, *_) in table(section).items()}


def bases_of(error: type[BaseException]) -> set[str]:
    return {base.__name__ for base in error.__bases__}


def test_every_error_has_a_row_with_what_it_is_besides(reference: Sections, table: Table) -> None:
    found = errors_of(gnomon, GnomonError)

    told = told_errors(reference("errors.md")["Errors"], table)

    assert GnomonError in found
    assert told == {error.__name__: bases_of(error) for error in found}
    assert {f"`{error.__name__}`" for error in (RunCancelled, RunSnoozed)} <= reference("errors.md").keys()


def test_every_error_of_the_stock_jobs_has_a_row(reference: Sections, table: Table) -> None:
    found = errors_of(gnomon_chores, gnomon_chores.ChoreError)

    told = told_errors(reference("errors.md")["Errors of the stock jobs"], table)

    assert told == {error.__name__: bases_of(error) for error in found}


def test_an_error_that_the_page_says_is_exported_is_exported(reference: Sections) -> None:
    rows = [line for line in reference("errors.md")["Errors"].splitlines() if line.startswith("| `")]
    names = [line.split("`")[1] for line in rows if "` (`" not in line.split(" | ")[0]]

    assert names
    assert [name for name in names if name not in gnomon.__all__] == []


# Bodies and their context


def test_everything_that_a_body_can_call_is_in_the_tutorial() -> None:
    page = (ROOT / "docs/tutorial/jobs.md").read_text(encoding="utf-8")
    of_the_kernel = {
        "flush",
        "give",
        "report",
        "request_cancel",
        "log_line",
        "may_record_progress",
        "has_pending_progress",
    }
    offered = {name for name, value in vars(gnomon.Context).items() if not isinstance(value, MemberDescriptorType)}
    names = {name for name in offered if not name.startswith("_")} - of_the_kernel

    assert names
    assert sorted(name for name in names if f"ctx.{name}" not in page) == []


def test_every_public_name_is_told_somewhere() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").rglob("*.md")))
    words = set(re.findall(r"\w+", pages))

    assert [name for name in gnomon.__all__ if name not in words] == []
