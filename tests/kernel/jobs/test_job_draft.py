"""The check of a job's keys: types and meaning at once, each problem with its key."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon import Kernel
from gnomon.domain.job_preview import JobPreview
from gnomon.jobs.job_draft import OrderRules, draft_job
from gnomon.jobs.job_keys import JobKeys

HERE = f"{__name__}:"
RULES = OrderRules(
    keys=JobKeys({}, groups=["warehouse"]),
    declared=lambda _: None,
    declared_ids=lambda: ["load"],
    exists=lambda job_id: job_id == "load",
)


def report(market: str = "cn") -> None: ...


def problems(**keys: Any) -> dict[str, str]:
    found = draft_job({"id": "x", "func": f"{HERE}report"} | keys, RULES)
    assert found.registered is None
    return {problem.key: problem.detail for problem in found.problems}


def test_wrong_types_hide_no_other_problem() -> None:
    found = problems(
        id="a b",
        cron="* *",
        timezone="Europe/Berln",
        overlap="skp",
        retyr=1,
        priority="x",
        max_instances=0,
        group="warehose",
        after=["laod"],
        kwargs={"markt": 1},
        labels={"a b": "x"},
        limits={"memory": 5},
        exclude=[{"from": "x"}],
    )

    assert set(found) == {
        *("id", "cron", "timezone", "overlap", "retyr", "priority", "max_instances", "group", "after", "kwargs"),
        *("labels", "limits", "exclude[0]"),
    }
    for key, hint in {
        "timezone": "perhaps 'Europe/Berlin'",
        "overlap": "did you mean 'skip'?",
        "retyr": "did you mean 'retry'?",
        "group": "did you mean 'warehouse'",
        "after": "did you mean 'load'?",
        "kwargs": "did you mean 'market'?",
    }.items():
        assert hint in found[key]
    assert not any("job 'a'" in text for text in found.values())


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            {"every": "1h", "cron": "@daily", "queue_limit": -1, "func": f"{HERE}reprt"},
            {"every", "queue_limit", "func"},
        ),
        ({"retry": {"attempts": 0}, "max_instances": 0}, {"retry", "max_instances"}),
        ({"kwargs": [1], "group": "nosuch"}, {"kwargs", "group"}),
        ({"args": ["a", "b"], "tags": "x"}, {"args", "tags"}),
        ({"overrides": ["markt"], "tags": "x"}, {"overrides", "tags"}),
        ({"runner": "async", "tags": "x"}, {"runner", "tags"}),
        ({"start": "2026-01-01T00:00:00Z"}, {"start"}),
        ({"limits": {"memory": 5}}, {"limits"}),
    ],
)
def test_each_problem_has_its_key(keys: dict[str, Any], expected: set[str]) -> None:
    assert set(problems(**keys)) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"start": "2026-01-01T00:00:00Z", "crom": "@daily"}, {"crom"}),
        ({"start": "2026-01-01T00:00:00Z", "cron": 5}, {"cron"}),
        ({"limits": {"memory": 5}, "runner": "proces"}, {"runner"}),
        ({"kwargs": 5, "func": f"{HERE}needs"}, {"kwargs"}),
        ({"func": f"{HERE}reprt", "kwargs": {"markt": 1}}, {"func"}),
    ],
)
def test_a_problem_is_not_reported_again_as_another_one(keys: dict[str, Any], expected: set[str]) -> None:
    assert set(problems(**keys)) == expected


def needs(day: str) -> None: ...


async def test_a_preview_of_a_kernel_has_all_problems_at_once() -> None:
    async with Kernel() as kernel:
        keys = {"id": "a b", "func": f"{HERE}report", "priority": "x", "max_instances": 0, "cron": "x"}
        found: JobPreview = await kernel.preview_job(keys, trusted=True)

    assert {problem.key for problem in found.problems} == {"id", "priority", "max_instances", "cron"}
