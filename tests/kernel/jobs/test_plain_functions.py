"""Jobs of plain functions, with the keys of a job by name."""

import sys
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest

import annotated_bodies
import callable_kinds
from gnomon import Job, JobError, JobExistsError, Kernel, job
from gnomon.jobs.plain_functions import job_of


def sync(day: date | None = None) -> str:
    """Fetch the prices of a day."""
    return repr(day)


@job(id="declared", cron="0 18 * * *", tags=["market"])
def declared() -> None:
    """A job of its own."""


def test_a_function_becomes_a_job_with_these_keys() -> None:
    found = job_of(sync, {"cron": "0 18 * * 1-5", "timeout": "5m", "kwargs": {"day": date(2026, 1, 1)}})

    assert (found.id, found.func, found.description) == (f"{__name__}.sync", sync, "Fetch the prices of a day.")
    assert (found.cron, found.timeout) == ("0 18 * * 1-5", timedelta(minutes=5))


@pytest.mark.parametrize(
    ("item", "job_id"),
    [
        (sync, f"{__name__}.sync"),
        ("annotated_bodies:plain", "annotated_bodies.plain"),
        (callable_kinds.derived.method, "callable_kinds.method"),
        (callable_kinds.Constructed, "callable_kinds.Constructed"),
    ],
)
def test_the_id_defaults_to_the_module_and_the_name(item: Any, job_id: str) -> None:
    assert job_of(item, {}).id == job_id
    assert job_of(item, {"id": None}).id == job_id
    assert job_of(item, {"id": "own"}).id == "own"


def test_a_function_of_the_program_has_the_name_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None: ...

    body.__module__ = "__main__"
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/srv/prices.py", raising=False)

    assert job_of(body, {}).id == "prices.body"


@pytest.mark.parametrize("item", [lambda: None, partial(sync), callable_kinds.instance])
def test_what_has_no_name_needs_an_id(item: Any) -> None:
    with pytest.raises(JobError, match=r'has no name from which an id could be made: pass id="\.\.\."'):
        job_of(item, {})

    assert job_of(item, {"id": "own"}).func is item


def test_keys_replace_those_of_a_job() -> None:
    found = job_of(declared, {"every": "5m"})

    assert (found.id, found.cron, found.every, found.tags) == ("declared", None, timedelta(minutes=5), ["market"])
    assert job_of(Job(id="one", func=sync, cron="0 1 * * *"), {"id": "two"}).id == "two"
    assert job_of(declared, {}) is declared.__gnomon_job__  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("item", "keys", "problem"),
    [
        (
            sync,
            {"crno": "* * * * *"},
            r"the job of .*test_plain_functions:sync.crno: unknown key; did you mean 'cron'\?",
        ),
        (sync, {"id": "m", "at": "tomorrow"}, "^job 'm'.at: expected a time such as [^,]*$"),
        (sync, {"misfire_grace_time": 5}, "the time in which a late fire still runs is `grace`"),
        (sync, {"timeout": "soon", "tags": 5}, r"(?s)timeout: .*tags: "),
        (sync, {"func": sync}, "func is given twice"),
        (5, {}, "expected a Job, a function or"),
    ],
)
def test_wrong_keys_are_all_named(item: Any, keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(JobError, match=problem):
        job_of(item, keys)


async def test_a_running_kernel_takes_functions_and_names_two_with_one_id() -> None:
    async with Kernel() as kernel:
        added = await kernel.add_job(annotated_bodies.plain, every="1h", kwargs={"count": 1})
        with pytest.raises(JobExistsError, match=r"annotated_bodies\.plain"):
            await kernel.add_job("annotated_bodies:plain", every="2h", kwargs={"count": 1})
        other = await kernel.add_job("annotated_bodies:plain", id="other", kwargs={"count": 2})
        with pytest.raises(JobError, match=r"kwargs\.count"):
            await kernel.add_job(annotated_bodies.plain, id="third", kwargs={"count": "x"})
        run = await kernel.wait((await kernel.trigger("other")).execution.id)
        views = await kernel.jobs()

    assert (added.id, other.id) == ("annotated_bodies.plain", "other")
    assert [view.job.id for view in views] == ["annotated_bodies.plain", "other"]
    assert run.return_value == "(2, 'x', 1.0, [])"


async def test_a_kernel_is_built_with_plain_functions() -> None:
    kernel = Kernel(jobs=[sync])
    kernel.add(declared, id="also")
    with pytest.raises(JobError, match=f"two jobs have the id '{__name__}.sync'"):
        kernel.add(sync)

    async with kernel:
        run = await kernel.wait((await kernel.trigger(f"{__name__}.sync", kwargs={"day": "2026-01-01"})).execution.id)
        also = await kernel.job("also")

    assert run.return_value == "datetime.date(2026, 1, 1)"
    assert also.job.cron == "0 18 * * *"
