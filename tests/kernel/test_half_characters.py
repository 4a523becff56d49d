"""Half a character, a lone surrogate, in whatever is asked: it is refused or finds nothing, and no store is asked."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from gnomon import GnomonError, Job, Kernel
from gnomon.api import KernelApi
from gnomon.client import Client
from gnomon.domain.events import LoggedIn
from gnomon.domain.job_order import JobOrder
from gnomon.domain.records import Checkpoint
from gnomon.jobs.registered import RegisteredJob
from gnomon.ports import Store
from gnomon.stores.memory import MemoryStore
from gnomon.text import is_writable

HALF = "\ud800"
NOW = datetime(2026, 12, 1, tzinfo=UTC)
FITTING: dict[str, Any] = {
    "job_id": "job", "task_id": "job", "id": "job", "job": "time:time", "func": "time:time", "node": "a", "pid": 1,
    "name": "view", "period_s": 60.0, "seconds": 0, "since": NOW, "until": NOW, "moment": NOW, "started_at": NOW,
    "fact": LoggedIn, "orders": [], "jobs": [], "keys": {}, "changes": {}, "execution_ids": [], "how": "change",
    "order": JobOrder(how="remove", job_id="job"), "checkpoint": Checkpoint(0, b""),
}  # fmt: skip
"""What is passed for other parameters that must be given, and for fields of Structs."""
HELD = {"add_jobs", "apply_jobs", "step_down"}
"""What takes jobs, which tests of definitions are about, and what ends the kernel."""

ANSWERED = {"log", "preview_job", "cancel_runs", "pause_jobs", "resume_jobs"}
"""What returns the problem, or a run without lines, in place of an error."""


def halves(hint: Any) -> Iterator[Any]:
    """Yield values of an annotation with half a character in each place that has text."""
    origin, members = get_origin(hint), get_args(hint)
    if hint is str:
        yield HALF
    elif origin in {Union, types.UnionType}:
        yield from (value for member in members for value in halves(member))
    elif origin in {tuple, list, set, frozenset, Sequence, Iterable}:
        kind = list if origin in {Sequence, Iterable} else origin
        yield from (kind([value]) for value in halves(members[0]))
    elif origin in {dict, Mapping}:
        yield from ({HALF: "a"}, {"a": HALF}, {"a": [HALF]})
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct) and hint not in {Job, RegisteredJob}:
        hints = get_type_hints(hint)
        needed = {one.name: FITTING.get(one.name) for one in msgspec.structs.fields(hint) if one.required}
        yield from (hint(**needed | {name: value}) for name in hints for value in halves(hints[name]) if name != "func")


def calls_of(kind: type) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """Yield the calls of all coroutine methods of a class with half a character in one place of one parameter."""
    methods = {name: method for one in kind.__mro__[:-1] for name, method in vars(one).items() if name[0] != "_"}
    for name, method in sorted(methods.items()):
        if not inspect.iscoroutinefunction(inspect.unwrap(method)) or name in HELD:
            continue
        hints, parameters = get_type_hints(method), list(inspect.signature(method).parameters.values())[1:]
        for wrong in parameters:
            for value in halves(hints[wrong.name]) if wrong.kind is not wrong.VAR_KEYWORD else ():
                needed = [one for one in parameters if one is wrong or one.default is one.empty]
                given = {one: value if one is wrong else FITTING.get(one.name, "text") for one in needed}
                by_place = [given[one] for one in needed if one.kind is one.POSITIONAL_ONLY]
                by_name = {wrong.KEYWORD_ONLY, wrong.POSITIONAL_OR_KEYWORD}
                yield name, by_place, {one.name: given[one] for one in needed if one.kind in by_name}


def is_held(value: Any) -> bool:
    """Return whether a log can hold all texts in what a store was passed."""
    if isinstance(value, msgspec.Struct):
        return all(is_held(getattr(value, name)) for name in value.__struct_fields__)
    return all(map(is_held, value)) if isinstance(value, list | tuple | set | frozenset) else is_writable(value)


def _strict(name: str) -> Callable[..., Any]:
    method = getattr(MemoryStore, name)

    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        assert all(map(is_held, (*args, *kwargs.values()))), f"{name} is passed half a character"
        return await method(self, *args, **kwargs)

    return call


ASKED = [name for name, one in vars(Store).items() if inspect.iscoroutinefunction(one) and not name.startswith("_")]
StrictStore: Any = types.new_class("StrictStore", (MemoryStore,), {}, lambda space: space.update(
    {name: _strict(name) for name in ASKED}
))  # fmt: skip


@pytest.mark.parametrize("of_past", [False, True], ids=["now", "past"])
async def test_no_store_is_passed_half_a_character(*, of_past: bool) -> None:
    tried = set()
    async with Kernel(store=StrictStore(), jobs=[Job(id="job", func="time:time", cron="0 * * * *")]) as kernel:
        asked: KernelApi = await kernel.at(kernel.clock.now()) if of_past else kernel
        for name, args, kwargs in calls_of(KernelApi):
            tried.add(name)
            problem = None
            try:
                await getattr(asked, name)(*args, **kwargs)
            except GnomonError as exc:
                problem = str(exc)
            assert problem is not None or name in ANSWERED, name
            assert is_writable(problem), name
        assert kernel.health().state == "healthy"

    assert {"executions", "actions", "execution", "history", "trigger", "trigger_many", "checkpoint", "job"} < tried


async def test_a_client_sends_no_half_character() -> None:
    async with Client("http://127.0.0.1:1", patience=0) as client:
        for name, args, kwargs in calls_of(Client):
            with pytest.raises(GnomonError) as caught:
                await getattr(client, name)(*args, **kwargs)
            assert is_writable(str(caught.value)), name
