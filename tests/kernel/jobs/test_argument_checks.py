"""A function may declare how the arguments of its jobs are checked when they are defined."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon import Job, JobError, SecretReference
from gnomon.jobs.argument_checks import checks_arguments
from gnomon.jobs.registered import check_job, register_job


class Refused(ValueError):
    def __init__(self, argument: str) -> None:
        super().__init__(f"{argument} is not right")
        self.argument = argument


def check(*, market: str, limit: int = 1) -> None:
    if limit < 1:
        raise Refused("limit")
    if market == "exit":
        raise SystemExit(1)


@checks_arguments(check)
def sync(*, market: str, limit: int = 1) -> None: ...


def problems(**keys: Any) -> list[tuple[str, str]]:
    found: list[Any] = []
    check_job(Job(id="x", func=sync, **keys), "UTC", found)
    return [(problem.key, str(problem.error)) for problem in found]


def test_an_argument_that_the_function_refuses_is_named() -> None:
    ((key, text),) = problems(kwargs={"market": "cn", "limit": 0})

    assert key == "kwargs.limit"
    assert text.endswith("does not fit: limit is not right")


def test_arguments_that_the_function_accepts_are_registered() -> None:
    assert problems(kwargs={"market": "cn", "limit": 3}) == []


def test_a_check_that_raises_anything_ends_nothing() -> None:
    with pytest.raises(JobError, match=r"the arguments of .*sync do not fit"):
        register_job(Job(id="x", func=sync, kwargs={"market": "exit"}), "UTC")


def test_arguments_that_are_not_known_yet_are_not_checked() -> None:
    assert problems(kwargs={"limit": 0}) == []
    assert problems(kwargs={"limit": 0, "market": SecretReference(env="MARKET")}) == []
