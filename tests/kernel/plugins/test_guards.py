from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon.hookspecs import hookimpl
from gnomon.jobs.job import Job
from gnomon.plugins.guards import Guards
from gnomon.plugins.plugin_set import PluginSet

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
JOB = Job(id="x", func=print)


def guarded(*guards: Callable[..., Any]) -> PluginSet:
    """Make a set whose guards are called in this order."""
    plugins = PluginSet()
    for i, guard in reversed(list(enumerate(guards))):
        plugins.add(SimpleNamespace(guard=hookimpl(guard)), f"guard {i}")
    return plugins


def test_a_fire_that_no_guard_vetoes_may_run() -> None:
    assert Guards(PluginSet(), 1.0).veto(JOB, NOW) is None
    assert Guards(guarded(lambda: None, lambda: ""), 1.0).veto(JOB, NOW) is None


def test_a_set_knows_whether_it_has_guards() -> None:
    assert not Guards(PluginSet(), 1.0).are_any
    assert Guards(guarded(lambda: None), 1.0).are_any


def test_the_first_reason_counts() -> None:
    plugins = guarded(lambda: None, lambda job, scheduled_time: f"{job.id} at {scheduled_time:%H:%M}", lambda: "later")

    assert Guards(plugins, 1.0).veto(JOB, NOW) == "x at 12:00"


@pytest.mark.parametrize("bad", [lambda: 1 / 0, lambda: True], ids=["raising", "no sentence"])
def test_a_guard_that_fails_is_logged_and_does_not_count(bad: Callable[[], Any]) -> None:
    plugins = guarded(bad, lambda: "closed")

    with capture_logs() as logs:
        reason = Guards(plugins, 1.0).veto(JOB, NOW)

    assert reason == "closed"
    assert [(line["event"], line["plugin"], line["job"]) for line in logs] == [
        ("guard failed, the fire runs unguarded", "guard 0", "x")
    ]


def test_a_guard_that_fails_is_its_plugins_problem_until_it_answers() -> None:
    reasons: Iterator[Any] = iter([True, None])
    plugins = guarded(lambda: next(reasons))

    Guards(plugins, 1.0).veto(JOB, NOW)

    failed = "hook guard failed, so 'x' ran unguarded: TypeError: expected a sentence or None, got True"
    assert plugins["guard 0"].problem == failed

    Guards(plugins, 1.0).veto(JOB, NOW)

    assert plugins["guard 0"].problem is None
