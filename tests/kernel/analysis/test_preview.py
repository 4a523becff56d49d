"""A preview says what a job's keys would do: every problem with its place, or the fires that change."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gnomon import SecretReference
from gnomon.analysis.plan import plan
from gnomon.analysis.preview import MOST_FIRES, preview
from gnomon.domain.job_preview import JobPreview
from gnomon.domain.job_state import JobState
from gnomon.durations import Duration
from gnomon.jobs.allowed_functions import AllowedFunctions
from gnomon.jobs.job import Job
from gnomon.jobs.job_draft import MOST_KEYS, OrderRules, draft_job
from gnomon.jobs.job_keys import JobKeys
from gnomon.jobs.overrides import default_overrides
from gnomon.jobs.registered import RegisteredJob, register_job

NOW = datetime(2026, 11, 28, 12, 0, 0, 250_000, tzinfo=UTC)
HERE = f"{__name__}:"


def sync(market: str, *, limit: int = 10, token: str = "") -> None: ...


@default_overrides("none")
def shell(command: str, retries: int = 1) -> None: ...


class Owned(msgspec.Struct):
    calendar: str
    margin: int = 0


DECLARED = [
    Job(id="hourly", func=sync, every=Duration(hours=1), kwargs={"market": "cn"}, timeout=Duration(minutes=5)),
    Job(id="backup", func=shell, kwargs={"command": "backup --all"}),
    Job(id="open_shell", func=shell, kwargs={"command": "ls"}, overrides=["retries"]),
    Job(id="secret", func=sync, kwargs={"market": "cn", "token": SecretReference(env="TOKEN")}),
]
REGISTERED = {job.id: register_job(job, "UTC") for job in DECLARED}


def rules(*allowed: str, trusted: bool = False) -> OrderRules:
    return OrderRules(
        keys=JobKeys({"calendar": Owned, "margin": Owned}),
        declared=REGISTERED.get,
        declared_ids=lambda: list(REGISTERED),
        exists=lambda job_id: job_id in REGISTERED,
        allowed=None if trusted else AllowedFunctions(allowed or (f"{HERE}*",)),
    )


def look(keys: dict[str, Any], state: JobState | None = None, *allowed: str) -> JobPreview:
    return preview({"id": "x", "func": f"{HERE}sync", **keys}, rules(*allowed), state, NOW)[0]


def known(**keys: Any) -> JobState:
    job = register_job(Job(id="x", func=f"{HERE}sync", kwargs={"market": "cn"}, **keys), "UTC")
    return JobState(job_id="x", anchor=NOW - timedelta(hours=5), definition=job.definition, version=1)


def problems(found: JobPreview) -> dict[str, str]:
    assert not found.ok
    return {problem.key: problem.detail for problem in found.problems}


def test_a_new_job_has_its_next_fires_and_its_schedule_in_words() -> None:
    found = look({"cron": "0 18 * * 1-5", "kwargs": {"market": "cn"}, "timezone": "Asia/Shanghai"})

    assert (found.ok, found.action, found.problems) == (True, "add", [])
    assert found.schedule == "At 18:00 on Monday through Friday (Asia/Shanghai)"
    assert len(found.next_run_times) == 10
    assert found.next_run_times[0] == datetime(2026, 11, 30, 10, tzinfo=UTC)
    assert (found.gained.count, found.lost.count, found.until) == (5, 0, NOW + timedelta(days=7))


def test_a_change_has_the_fires_that_a_plan_has() -> None:
    state = known(cron="0 * * * *", description="old")
    keys: dict[str, Any] = {"cron": "0 */6 * * *", "kwargs": {"market": "cn"}}
    found = look(keys, state)

    (planned,) = plan([state], [register_job(Job(id="x", func=f"{HERE}sync", **keys), "UTC")], NOW).jobs
    assert found.action == "change"
    assert [(one.key, one.old, one.new) for one in found.changes] == [
        ("cron", "0 * * * *", "0 */6 * * *"),
        ("description", "old", None),
    ]
    assert (found.gained.count, found.lost.count) == (planned.gained.count, planned.lost.count) == (0, 140)
    assert found.lost.first == planned.lost.first


def test_a_schedule_that_stays_keeps_its_phase() -> None:
    found = look({"every": "2h", "kwargs": {"market": "hk"}}, known(every=timedelta(hours=2)))

    assert found.action == "change"
    assert found.next_run_times[0] == NOW + timedelta(hours=1)
    assert (found.gained.count, found.lost.count) == (0, 0)


def test_the_same_keys_change_nothing() -> None:
    assert look({"every": "2h", "kwargs": {"market": "cn"}}, known(every=timedelta(hours=2))).action == "keep"


def test_a_paused_job_shows_the_fires_that_it_will_have() -> None:
    state = msgspec.structs.replace(known(every=timedelta(hours=2)), paused=True)
    found = look({"every": "3h", "kwargs": {"market": "cn"}}, state)

    assert found.paused
    assert found.next_run_times[0] == NOW + timedelta(hours=3)


def test_a_time_that_is_past_says_that_it_runs_at_once() -> None:
    found = look({"at": "2020-01-01T00:00:00Z", "kwargs": {"market": "cn"}})

    assert found.next_run_times == []
    assert found.ok
    assert list(map(str, found.warnings)) == [
        "at: 2020-01-01 00:00 UTC is past, and no other fire comes: with this `catch_up` it runs at once"
    ]


def test_every_problem_has_its_place_and_a_close_match() -> None:
    found = problems(
        look(
            {"crom": "x", "retry": 2, "overlap": "skp", "cron": "* * *", "func": f"{HERE}synk", "limits": {"memry": 1}}
        )
    )

    assert found["crom"] == "unknown key; did you mean 'cron'?"
    assert found["retry"].startswith("expected table, got integer")
    assert found["overlap"].endswith("did you mean 'skip'?")
    assert "has 3 fields" in found["cron"]
    assert found["func"].endswith("did you mean 'sync'?")
    assert found["limits.memry"] == "unknown key; did you mean 'memory'?"


def test_missing_keys_are_named() -> None:
    found = preview({}, rules(), None, NOW)[0]

    assert problems(found) == {"id": "is missing", "func": "is missing"}


def test_keys_of_plugins_are_checked_by_their_plugin() -> None:
    wrong = problems(look({"calendar": 3, "kwargs": {"market": "cn"}}))
    right = look({"calendar": "XSHG", "kwargs": {"market": "cn"}})

    assert wrong == {"calendar": "expected text, got integer 3"}
    assert right.ok


# --- bounds ---


@pytest.mark.parametrize(
    "schedule",
    [
        {"every": "1ms"},
        {"every": 0.001},
        {"cron": "* * * * * *"},
        {"trigger": {"type": "or", "triggers": [{"type": "interval", "seconds": 1}] * 50}},
    ],
)
def test_a_schedule_that_fires_very_often_is_counted_for_a_shorter_time(schedule: dict[str, Any]) -> None:
    found = look(schedule | {"kwargs": {"market": "cn"}})

    assert found.ok
    assert len(found.next_run_times) == 10
    assert 0 < found.gained.count <= MOST_FIRES + 1
    assert found.until is not None
    assert found.until < NOW + timedelta(days=7)
    assert any("too often" in note for note in found.notes)
    assert len(found.schedule) < 1100


def test_an_old_schedule_with_years_of_undecided_fires_is_not_walked_through() -> None:
    state = known(every=timedelta(milliseconds=1))
    state = msgspec.structs.replace(state, anchor=NOW - timedelta(days=3650), paused=True)
    found = look({"every": "1h", "kwargs": {"market": "cn"}}, state)

    assert found.ok
    assert 0 < found.lost.count <= MOST_FIRES + 1


@pytest.mark.parametrize(
    "trigger",
    [
        {"type": "and", "triggers": [{"type": "cron", "expression": f"0 {hour} 1 1 *"} for hour in (0, 1)]},
        {"type": "date", "run_date": "9999-12-31T23:59:59Z"},
        {"type": "interval", "weeks": 99_999_999},
    ],
)
def test_a_schedule_that_never_fires_has_an_answer(trigger: dict[str, Any]) -> None:
    found = look({"trigger": trigger, "kwargs": {"market": "cn"}})

    assert found.gained.count == 0


def test_a_table_with_very_many_keys_is_refused_as_a_whole() -> None:
    found = look({f"k{n}": n for n in range(100_000)})

    assert len(found.problems) == 1
    assert "100,002 keys" in str(found.problems[0])
    assert len(look({f"k{n}": n for n in range(MOST_KEYS - 2)}).problems) == MOST_KEYS - 2


# --- what orders from outside may name ---


def test_no_function_may_be_named_unless_the_deployment_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = AllowedFunctions()
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    draft = draft_job(
        {"id": "x", "func": "antigravity:fly", "cron": "* *"}, msgspec.structs.replace(rules(), allowed=closed)
    )

    assert draft.refusal is not None
    assert [problem.key for problem in draft.problems] == ["func", "cron"]
    assert 'allow_functions = ["antigravity:*"]' in str(draft.refusal)
    assert "antigravity" not in sys.modules  # not imported: that would be running code


@pytest.mark.parametrize(
    "func",
    [
        "sys.modules.get",
        "msgspec.structs.replace",
        "timedelta",
        "RegisteredJob",
        "sync.__class__",
        "sync.__call__",
        "Owned.__init__.__class__",
        "pytest.main",
    ],
)
def test_a_pattern_does_not_open_what_its_module_imports(func: str) -> None:
    draft = draft_job({"id": "x", "func": f"{HERE}{func}"}, rules())

    assert draft.refusal is not None, draft.problems
    assert RegisteredJob is not None


def test_a_function_that_is_named_exactly_may_be_an_imported_one() -> None:
    draft = draft_job({"id": "x", "func": f"{HERE}timedelta"}, rules(f"{HERE}timedelta"))

    assert draft.refusal is None
    assert draft.registered is not None


def test_who_is_trusted_may_name_any_function() -> None:
    assert draft_job({"id": "x", "func": "time:time"}, rules(trusted=True)).registered is not None


def test_an_order_with_the_id_of_a_declared_job_inherits_its_keys() -> None:
    draft = draft_job({"id": "x", "func": "hourly", "cron": "0 9 * * *", "kwargs": {"market": "hk"}}, rules("no:*"))

    assert draft.registered is not None
    job = draft.registered.job
    assert (job.func, job.cron, job.every, job.kwargs) == ("hourly", "0 9 * * *", None, {"market": "hk"})
    assert str(job.timeout) == "5m"
    assert draft.registered.definition["func"] == "hourly"
    assert draft.registered.body.func is sync


def test_an_unknown_declared_job_is_named_with_a_close_match() -> None:
    assert problems(look({"func": "horly"}))["func"].endswith("did you mean 'hourly'?")


@pytest.mark.parametrize(
    ("keys", "culprit"),
    [
        ({"func": "backup", "kwargs": {"command": "rm -rf /"}}, "kwargs.command"),
        ({"func": "backup", "kwargs": {}}, "kwargs.command"),
        ({"func": "backup", "args": ["rm -rf /"], "kwargs": {}}, "args"),
        ({"func": "backup", "overrides": "all"}, "overrides"),
        ({"func": "open_shell", "kwargs": {"command": "id", "retries": 1}}, "kwargs.command"),
        ({"func": "open_shell", "overrides": ["command", "retries"]}, "overrides"),
    ],
)
def test_arguments_that_are_closed_to_commands_are_closed_to_orders(keys: dict[str, Any], culprit: str) -> None:
    draft = draft_job({"id": "x", **keys}, rules("no:*"))

    assert culprit in [problem.key for problem in draft.problems]
    assert draft.registered is None


def test_arguments_that_are_open_to_commands_are_open_to_orders() -> None:
    keys = {"id": "x", "func": "open_shell", "kwargs": {"command": "ls", "retries": 5}}

    assert draft_job(keys, rules("no:*")).registered is not None
    assert draft_job({"id": "x", "func": "backup", "every": "1h"}, rules("no:*")).registered is not None


@pytest.mark.parametrize("source", [{"env": "HOME"}, {"file": "/etc/shadow"}])
def test_an_order_cannot_read_the_environment_or_the_files_of_the_kernel(source: dict[str, str]) -> None:
    keys = {"market": "cn", "token": {"$secret": source}}

    assert "kwargs.token" in problems(look({"kwargs": keys}))
    assert "args[0]" in problems(look({"args": [{"$secret": source}]}))
    assert "kwargs.token" in problems(look({"func": "secret", "kwargs": keys}))


def test_an_order_keeps_the_references_of_the_job_that_it_names_or_changes() -> None:
    reference = {"$secret": {"env": "TOKEN"}}
    state = known(every=timedelta(hours=1))
    state.definition["kwargs"] = {"market": "cn", "token": reference}

    assert look({"func": "secret", "kwargs": {"market": "hk", "token": reference}}).ok
    assert look({"kwargs": {"market": "hk", "token": reference}}, state).ok


@pytest.mark.parametrize("func", [f"{HERE}sync", "hourly"])
@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        {"kwargs": {"market": "cn", "token": {"$secret": {"env": "TOKEN"}}}},
        {"kwargs": {"market": "cn"}, "args": [{"$secret": {"env": "TOKEN"}}]},
        {"kwargs": {"market": ["cn", {"$secret": {"env": "TOKEN"}}]}},
    ],
)
def test_a_reference_cannot_go_to_another_function(func: str, is_whole: bool, call: dict[str, Any]) -> None:
    present = {"id": "x", "func": "secret", **call}

    draft = draft_job({**present, "func": func}, rules(), present, is_whole=is_whole)

    assert draft.registered is None
    (place,) = [one.key for one in draft.problems if "to another function: remove the argument too" in one.detail]
    assert place in {"kwargs.token", "args[0]", "kwargs.market[1]"}


@pytest.mark.parametrize(
    ("keys", "culprit"),
    [
        ({"func": "backup", "kwargs": {"command": "id"}}, "kwargs.command"),
        ({"func": "backup", "kwargs": {"command": "backup --all"}, "overrides": "all"}, "overrides"),
        ({"func": "backup", "kwargs": {}, "args": ["id"]}, "args"),
    ],
)
def test_what_a_job_had_for_another_function_opens_no_declared_job(keys: dict[str, Any], culprit: str) -> None:
    draft = draft_job({"id": "x", **keys}, rules(), {"id": "x", **keys, "func": f"{HERE}sync"}, is_whole=True)

    assert culprit in [problem.key for problem in draft.problems]
    assert draft.registered is None


@pytest.mark.parametrize("pattern", ["tasks", "*:*", "*.tasks:*", ":run", "app:", "?pp:run"])
def test_a_pattern_names_a_package(pattern: str) -> None:
    from gnomon.jobs.allowed_functions import pattern_problem

    assert pattern_problem(pattern)
    assert pattern_problem("app.*:run") is None
