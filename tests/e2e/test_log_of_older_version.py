"""A log of 2,615 events that the last version with log format 2 wrote: this version says the same about it.

`tests/fixtures/log_format_2/write_log.py` wrote the log and the answers. Sentences may change; the facts may not.
"""

import lzma
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnomon import Cancelled, ExecutionQuery
from gnomon.analysis.audit import audit
from gnomon.analysis.explain import explain
from gnomon.domain.records import ActionQuery
from gnomon.testing import check_store
from gnomon.testing.histories import append, extend
from gnomon_sqlite import SqliteStore
from gnomon_stats.verification import verify

FIXTURE = Path(__file__).parent.parent / "fixtures" / "log_format_2"
RENAMED = {"why": "reason", "ended_why": "ended_reason", "paused_why": "paused_reason"}
PROSE = {"sentences", "statements", "text"}
"""Fields that hold sentences, or what they say; so does `detail` where an audit explains what it found."""


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What the old version said, with today's names of fields."""
    told: dict[str, Any] = renamed(msgspec.json.decode(lzma.decompress((FIXTURE / "answers.json.xz").read_bytes())))
    return told


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    path = tmp_path / "log.db"
    path.write_bytes(lzma.decompress((FIXTURE / "log.db.xz").read_bytes()))
    async with SqliteStore(path) as store:
        yield store


def renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {RENAMED.get(key, key): renamed(one) for key, one in value.items()}
    return [renamed(one) for one in value] if isinstance(value, list) else value


def facts(value: Any, prose: set[str] = PROSE) -> Any:
    """Return as JSON what is data, without sentences, and without what is not set: defaults may be left out."""
    value = msgspec.json.decode(msgspec.json.encode(value))

    def strip(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: strip(inner) for key, inner in one.items() if key not in prose and inner not in (None, [], {})}
        return [strip(inner) for inner in one] if isinstance(one, list) else one

    return strip(value)


async def test_its_views_are_those_of_the_version_that_wrote_it(store: SqliteStore, answers: dict[str, Any]) -> None:
    log = await check_store(store)

    assert len(log) == await store.head() == answers["head"] == 2615
    assert sorted({event.type for event in log}) == answers["types"]
    assert facts(await store.jobs()) == facts(answers["jobs"])
    assert [state.paused_reason for state in await store.jobs() if state.paused] == [
        "the definition says so",
        "for the audit",
        "while Bob is on holiday",
        None,
    ]
    for told in answers["executions"]:
        assert facts(await store.execution(told["id"])) == facts(told)
    for status, total in answers["totals"].items():
        assert (await store.executions(ExecutionQuery(status=(status,), hidden=True))).total == total
    assert facts((await store.actions(ActionQuery(limit=1000))).items) == facts(answers["actions"])


async def test_its_audit_finds_the_same(store: SqliteStore, answers: dict[str, Any]) -> None:
    told = answers["audit"]
    since, until = (datetime.fromisoformat(told[name]) for name in ("since", "until"))

    found = await audit(store, since, until)

    assert found.is_proved
    # The old version did not count runs as missed that were accepted and then did not start.
    assert facts(found, {"detail", "missed"}) == facts(told, {"detail", "missed"})
    assert {job.job_id: job.missed for job in found.jobs} == await missed_fires(store, since, until)
    assert sum(job.fires for job in found.jobs) > 900


async def missed_fires(store: SqliteStore, since: datetime, until: datetime) -> dict[str, int]:
    """Return how many fires of each job in this time the log counts as missed."""
    found = {state.job_id: 0 for state in await store.jobs()}
    page = await store.executions(ExecutionQuery(status=("missed",), is_manual=False, hidden=True, limit=1000))
    assert page.next is None
    for run in page.items:
        if since <= run.scheduled_time <= until:
            found[run.job_id] += run.count
    return found


async def test_its_statistics_are_verified_again(store: SqliteStore, answers: dict[str, Any]) -> None:
    found = await verify(store, "Europe/Berlin")

    assert found.is_proved
    assert facts(found, {"store"}) == facts(answers["verification"], {"store"})


async def test_every_explanation_states_the_same_facts(store: SqliteStore, answers: dict[str, Any]) -> None:
    now = datetime.fromisoformat(answers["now"])
    fates = set()

    for told in answers["explanations"]:
        found = await explain(store, told["found"]["job_id"], asked(told), now)
        assert facts(found) == facts(told["found"])
        assert all(found.sentences)
        fates |= {story["fate"] for story in told["found"]["fires"]}

    assert {"success", "failed", "missed", "cancelled", "scheduled", "held_back", "undecided", "to_come"} <= fates


def asked(told: dict[str, Any]) -> datetime | date | None:
    moment, kind = told["moment"], told["kind"]
    if kind == "datetime":
        return datetime.fromisoformat(moment)
    return date.fromisoformat(moment) if kind == "date" else None


async def test_it_goes_on_with_new_events(store: SqliteStore, answers: dict[str, Any]) -> None:
    (waiting,) = (await store.executions(ExecutionQuery(status=("scheduled",)))).items
    history = await store.stream(waiting.id)

    await append(store, extend(history, Cancelled, after=timedelta(days=1), actor="ann")[-1:])

    assert await store.head() == answers["head"] + 1
    assert (await store.executions(ExecutionQuery(status=("scheduled",)))).total == 0
