"""The kinds of problem: each has its page, its documentation, and a client that recognizes it without reading prose."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from gnomon import (
    ArgumentError,
    ExecutionOverError,
    ExecutionRunningError,
    JobError,
    PastError,
    UnknownExecutionError,
    UnknownJobError,
)
from gnomon.client.errors import ClientError, NotAllowedError, error_of
from gnomon.wire import problems
from gnomon.wire.problems import KINDS, Culprit, Problem, ProblemKind

ROOT = Path(__file__).parents[4]


async def tick() -> None:
    """A job."""


def test_every_kind_is_listed_once() -> None:
    defined = [value for value in vars(problems).values() if isinstance(value, ProblemKind)]

    assert list(KINDS) == defined
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_the_reference_documents_every_kind() -> None:
    page = (ROOT / "docs/reference/problems.md").read_text(encoding="utf-8")

    for kind in KINDS:
        section = re.search(
            rf"^## {kind.name}\n\n{kind.status}, {kind.title}\n\n(.+?)\n(?:\n|\Z)", page, re.MULTILINE | re.DOTALL
        )
        assert section is not None, kind.name
        assert " ".join(section[1].split()) == kind.meaning


@pytest.mark.parametrize("base_path", ["", "/api"])
async def test_a_problem_links_to_the_section_that_the_server_serves(serve: Any, base_path: str) -> None:
    async with serve(tick, base_path=base_path) as ask:
        problem = (await ask("GET", "/scheduler/jobs/nothing")).json
        origin = ask.web.url.removesuffix(base_path)
        async with ask.client.get(origin + problem["type"].partition("#")[0]) as answer:
            page = await answer.text()

    assert problem["type"] == f"{base_path}/docs/problems#unknown-job"
    assert problem["title"] == "Unknown job"
    assert f'<section id="{problem["type"].partition("#")[2]}">' in page
    assert all(f'<section id="{kind.name}"><h2>{html.escape(kind.title)}' in page for kind in KINDS)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (problems.UNKNOWN_JOB, UnknownJobError),
        (problems.UNKNOWN_EXECUTION, UnknownExecutionError),
        (problems.UNKNOWN_PAST, PastError),
        (problems.EXECUTION_OVER, ExecutionOverError),
        (problems.EXECUTION_RUNNING, ExecutionRunningError),
        (problems.INVALID_ARGUMENTS, JobError),
        (problems.INSUFFICIENT_ROLE, NotAllowedError),
        (problems.UNKNOWN_TASK, ClientError),
    ],
)
def test_a_client_recognizes_a_kind_whatever_its_prose(kind: ProblemKind, error: type[Exception]) -> None:
    problem = Problem(type=f"/some/path{kind.type}", title="标题", status=kind.status, detail="说明")

    found = error_of(problem, url="http://x", has_token=True, subject="one")

    assert type(found) is error


def test_prose_without_a_kind_is_no_more_than_a_client_error() -> None:
    problem = Problem(title="Conflict", status=409, detail="execution 1 has already ended (success)")

    assert type(error_of(problem, url="http://x", has_token=True, subject="1")) is ClientError


async def test_the_status_of_a_run_that_is_over_is_a_field(serve: Any) -> None:
    async with serve(tick) as ask:
        run = (await ask.kernel.trigger("tick")).execution.id
        await ask.kernel.wait(run)
        problem = (await ask("POST", f"/scheduler/executions/{run}/cancel")).json

    assert (problem["type"], problem["execution_status"]) == ("/docs/problems#execution-over", "success")


def test_a_client_names_the_argument_that_does_not_fit() -> None:
    culprits = [Culprit(place="body", name="kwargs.day", detail="说明")]
    problem = Problem(type=problems.INVALID_ARGUMENTS.type, title="标题", status=422, detail="说明", errors=culprits)

    found = error_of(problem, url="http://x", has_token=True, subject="one")

    assert isinstance(found, ArgumentError)
    assert (str(found), found.job_id, found.place) == ("说明", "one", "kwargs.day")
