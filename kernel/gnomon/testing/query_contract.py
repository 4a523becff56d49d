"""The contract for queries in one text: the list of any of them is what its terms say, whatever store answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from gnomon.domain.execution import Execution
from gnomon.domain.list_query import parse_run_query
from gnomon.domain.records import ExecutionQuery
from gnomon.domain.run_sorting import SORT_KEYS, RunSort, in_order
from gnomon.ports import Store
from gnomon.testing.histories import NOON
from gnomon.testing.list_contract import variety

HOUR = timedelta(hours=1)
NOW = NOON + 3 * HOUR
QUERIES = 60
TAGS = {
    "a0": ["etl", "night"],
    "a1": ["etl"],
    "b0": ["night"],
    "b1": [],
    "c1": ["c 1"],
    "d": ["etl"],
    "nobody": ["etl"],
}
Term = tuple[str, Callable[[Execution], bool]]
"""A term, and the runs for which it holds."""


class QueryContract:
    """Part of StoreContract; its fixture `store` is an open store with an empty log."""

    async def test_the_list_of_a_random_query_has_the_runs_that_it_asks_for(self, store: Store) -> None:
        views = [view for view in await variety(store) if not view.hidden]
        chance = random.Random(5)  # noqa: S311 - the same queries each time

        for _ in range(QUERIES):
            terms = [make(chance) for make in chance.sample(_TERMS, chance.randrange(1, 5))]
            text = " ".join(text for text, _ in terms)
            sort = RunSort(chance.choice(SORT_KEYS), descending=chance.random() < 0.5)
            base = ExecutionQuery(sort=sort, limit=5)

            query = parse_run_query(text, NOW, None).query(TAGS, base)
            found = await _whole(store, query)

            expected = [view for view in views if all(holds(view) for _, holds in terms)]
            assert found == [view.id for view in in_order(expected, sort)], (text, sort)


async def _whole(store: Store, query: ExecutionQuery) -> list[str]:
    """Read all pages by cursor; the total of each is the number of them all."""
    found: list[str] = []
    while True:
        page = await store.executions(query)
        found += [view.id for view in page.items]
        if page.next is None:
            assert page.total == len(found), query
            return found
        query = msgspec.structs.replace(query, cursor=page.next)


_MOMENTS: list[tuple[str, datetime]] = [
    ("-2h", NOON + HOUR),
    ("-90m", NOON + 1.5 * HOUR),
    ("now", NOW),
    ("2026-12-01T13:00:01Z", NOON + HOUR + timedelta(seconds=1)),
]


def _status(chance: random.Random) -> Term:
    words = chance.sample(["scheduled", "running", "success", "failed", "missed", "cancelled"], 2)
    return f"status:{','.join(words)}", lambda view: view.status in words


def _job(chance: random.Random) -> Term:
    jobs = chance.sample(["a0", "a*", "b?", "*1", "c3", "d", "nobody"], chance.randrange(1, 3))
    return f"job:{','.join(jobs)}", lambda view: any(fnmatchcase(view.job_id, job) for job in jobs)


def _tag(chance: random.Random) -> Term:
    tag = chance.choice(["etl", "night", "c 1", "none"])
    return f'tag:"{tag}"', lambda view: tag in TAGS.get(view.job_id, ())


def _by(chance: random.Random) -> Term:
    actors = chance.sample(["ann", "bob", "cy", "nobody"], 2)
    return f"by:{','.join(actors)}", lambda view: view.actor in actors


def _manual(chance: random.Random) -> Term:
    word = chance.choice(["true", "false"])
    return f"manual:{word}", lambda view: view.is_manual == (word == "true")


def _label(chance: random.Random) -> Term:
    name, value = chance.choice([("tenant", "1"), ("tenant", "3"), ("kind", "a:b"), ("kind", "x")])
    return f"label:{name}={value}", lambda view: view.labels.get(name) == value


def _since(chance: random.Random) -> Term:
    text, moment = chance.choice(_MOMENTS)
    return f"since:{text}", lambda view: view.timestamp >= moment


def _until(chance: random.Random) -> Term:
    text, moment = chance.choice(_MOMENTS)
    return f"until:{text}", lambda view: view.timestamp < moment


def _text(chance: random.Random) -> Term:
    text, found = chance.choice([("boom", "boom"), ('"ÄÖ 100%_"', "äö 100%_"), ("m 3", "m 3"), (r'"b\"oom"', 'b"oom')])
    return text, lambda view: found in (view.error_message or "").casefold()


def _range(chance: random.Random, key: str, value_of: Callable[[Execution], float | None]) -> Term:
    operator, text, seconds = chance.choice([
        (">", "1s", 1.0), (">=", "1s", 1.0), ("<", "1m", 60.0), ("<=", "500ms", 0.5), (">", "1m", 60.0),
    ])  # fmt: skip
    compare: dict[str, Callable[[float], Any]] = {
        ">": lambda value: value > seconds,
        ">=": lambda value: value >= seconds,
        "<": lambda value: value < seconds,
        "<=": lambda value: value <= seconds,
    }

    def holds(view: Execution) -> bool:
        value = value_of(view)
        return value is not None and bool(compare[operator](value))

    return f"{key}{operator}{text}", holds


def _late(chance: random.Random) -> Term:
    return _range(chance, "late", lambda view: view.delay)


def _duration(chance: random.Random) -> Term:
    return _range(chance, "duration", lambda view: view.execution_time)


_TERMS = (_status, _job, _tag, _by, _manual, _label, _since, _until, _text, _late, _duration)
