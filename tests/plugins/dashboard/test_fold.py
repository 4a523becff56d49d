"""The folds of browser and kernel agree: on every checked-in history, and on random ones."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from gnomon.domain import codec, events
from gnomon.domain.events import DeclaredStep, Event
from gnomon.domain.execution import execution_id, fold
from gnomon.wire.records import Record

HISTORIES = Path(__file__).parents[2] / "histories"
START = datetime(2026, 12, 1, 12, tzinfo=UTC)
STEPS = ["fetch", "check", "store", "notify"]


def checked_in() -> Iterator[list[Event]]:
    for path in sorted(HISTORIES.glob("*.json")):
        streams: dict[str, list[Event]] = {}
        for raw in json.loads(path.read_text())["events"]:
            event = codec.decode(msgspec.json.encode(raw))
            streams.setdefault(event.stream, []).append(event)
        yield from (history for stream, history in streams.items() if not stream.startswith(("job:", "kernel:")))


def random_history(chance: random.Random) -> list[Event]:
    """Return a random history of a run, as the kernel would write it."""
    shared: dict[str, Any] = {"stream": execution_id("job", START), "node": "a", "job_id": "job"}
    life: list[tuple[type[Event], dict[str, Any]]] = [(events.Scheduled, {"scheduled_time": START, "kwargs": {"a": 1}})]
    if chance.random() < 0.1:
        life.append((events.Cancelled, {"actor": "anna"}))
        return numbered(life, shared, chance)
    life.append((events.Started, {"runner": "async", "delay": 0.5}))
    life += [(events.Progress, progress(chance)) for _ in range(chance.randrange(12))]
    if chance.random() < 0.2:
        life.append((events.CancelRequested, {"actor": "mei"}))
    ends: list[tuple[type[Event], dict[str, Any]]] = [
        (events.Succeeded, {"execution_time": 3.25, "return_value": [1, None]}),
        (events.Failed, {"reason": "exception", "error_type": "ValueError", "execution_time": 2.0}),
        (events.Cancelled, {"execution_time": 1.0}),
    ]
    life.append(chance.choice(ends))
    if chance.random() < 0.3:
        life.append((events.LateResult, {"outcome": "failed"}))
    return numbered(life, shared, chance)


def progress(chance: random.Random) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "percent": chance.uniform(-10, 120),
        "message": "m",
        "step": chance.choice(STEPS),
        "current_item": str(chance.randrange(9)),
        "processed_items": chance.randrange(12),
        "total_items": chance.choice([0, 10]),
        "steps": [DeclaredStep(name, chance.choice([1.0, 0.0, 2.5])) for name in STEPS[: chance.randrange(5)]],
        "skipped": chance.sample(STEPS, 1),
    }
    rare = {"percent": 0.3, "steps": 0.15, "skipped": 0.15}
    return {key: value for key, value in fields.items() if chance.random() < rare.get(key, 0.5)}


def numbered(
    life: list[tuple[type[Event], dict[str, Any]]], shared: dict[str, Any], chance: random.Random
) -> list[Event]:
    at, history = START, []
    for version, (kind, fields) in enumerate(life, 1):
        at += timedelta(seconds=chance.random())
        history.append(kind(version=version, position=version, at=at, **shared, **fields))
    return history


def as_sent(history: list[Event]) -> list[Any]:
    return [json.loads(codec.encode(event)) for event in history]


def as_recorded(history: list[Event]) -> dict[str, Any]:
    execution = fold(history)
    told: dict[str, Any] = json.loads(msgspec.json.encode(Record.of(execution)))
    told["steps"] = [
        {"status": "pending", "weight": 1, "started_at": None, "ended_at": None} | step for step in told["steps"]
    ]
    # The server names an unnamed run after its job; the fold does not.
    return told | {"job_name": execution.job_name}


async def test_both_folds_agree(lab: Any) -> None:
    chance = random.Random(11)
    histories = [*checked_in(), *(random_history(chance) for _ in range(400))]

    folded = await lab.inside("arg.map(m.fold)", [as_sent(history) for history in histories])

    assert len(folded) > 420
    for history, run in zip(histories, folded, strict=True):
        expected = as_recorded(history)
        assert {key: run.get(key) for key in expected} == expected, as_sent(history)


async def test_a_run_that_never_began_has_not_started(lab: Any) -> None:
    """Its time is that of its record, which would else be shown as its start."""
    lives: list[list[Any]] = [[], [(events.Cancelled, {})], [(events.Started, {"runner": "async", "delay": 0.0})]]
    shared: dict[str, Any] = {"stream": "a" * 24, "job_id": "a", "node": "n"}
    due = (events.Scheduled, {"scheduled_time": START})
    histories = [numbered([due, *life], shared, random.Random(1)) for life in lives]

    begun = await lab.inside("arg.map(m.fold).map(m.hasStarted)", [as_sent(one) for one in histories])

    assert begun == [False, False, True]


async def test_a_fold_continues_from_a_record_and_across_conflated_progress(lab: Any) -> None:
    history = as_sent(next(h for h in checked_in() if h[0].job_id == "financial_sync" and len(h) == 8))

    run = await lab.inside(
        "[arg[5], arg[7], arg[3]].reduce(m.apply, m.complete({ ...m.fold(arg.slice(0, 4)), declared: undefined }))",
        history,
    )

    assert (run["status"], run["version"], run["progress"]) == ("success", 8, 100)
    assert [step["status"] for step in run["steps"]] == ["completed", "completed", "skipped"]


async def test_an_event_of_an_unknown_run_is_ignored(lab: Any) -> None:
    assert await lab.inside("m.apply(null, { type: 'started', version: 2 })") is None
