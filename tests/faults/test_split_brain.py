"""Two and three kernels on one log on a server: whatever is cut, delayed, stopped or killed, one of them leads.

Two contests run at once, one of two processes and one of three, whose clocks are five minutes slow, five minutes fast
and right. What a round does follows from a seed. A contest has five rounds: the tests' MongoDB reads a whole log where
a real one looks into an index, so in a longer one it would have time for nothing else. The short form has one
contest of each size. The long form has five, one after the other, reports how long each take-over took, and fails where
one took more than the lease and 1 s, so it needs a machine that is not busy:

    for seed in 1 2 3 4; do
        GNOMON_TEST_FAULTS=long GNOMON_TEST_SEED=$seed pytest -s tests/faults/test_split_brain.py
    done
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from contest_checks import check_notes
from fault_runs import IS_LONG, rounds, seed, variants
from gnomon.testing.log_checks import check_store
from log_contest import FAULTS, LEASE_S, PATIENCE, Contender, Contest, contest_of, cut
from log_places import LogServer, patient, server_of, store_of
from servers import eventually

ROUNDS = 5
"""Of each contest."""
CONTESTS = rounds(short=1, long=5)
"""Of each size."""
PROMISED_S = LEASE_S + 1.0


class TakeOver(NamedTuple):
    """What a round has done to a leader, and the seconds until the next term and its first body."""

    fault: str
    among: int
    term_s: float
    body_s: float


@pytest.fixture(params=variants("postgres", long=["mongo"]))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LogServer]:
    with server_of(request.param, tmp_path / "server") as server:
        yield server


@pytest.mark.timeout(600 + CONTESTS * ROUNDS * 60)
async def test_one_kernel_leads_at_a_time_whatever_happens_to_it(server: LogServer, tmp_path: Path) -> None:
    measured: list[TakeOver] = []
    chances = {count: random.Random(f"{seed()} {count}") for count in (2, 3)}
    for number in range(CONTESTS):
        async with asyncio.TaskGroup() as tasks:
            playing = [
                tasks.create_task(play(count, number * ROUNDS, server, tmp_path / f"{count}-{number}", chance))
                for count, chance in chances.items()
            ]
        measured += [one for contest in playing for one in contest.result()]
    report(measured)
    if IS_LONG:
        assert [one for one in measured if one.term_s > PROMISED_S] == []


async def play(count: int, first: int, server: LogServer, folder: Path, chance: random.Random) -> list[TakeOver]:
    """Play the rounds of one contest, check what is left, and return the take-overs that count."""
    async with contest_of(count, server, folder) as contest:
        measured = [await play_round(contest, first + number, chance) for number in range(ROUNDS)]
        await contest.end()
        async with store_of(contest.place, **patient(folder / "s")) as store:
            log = await check_store(store)  # no fire has two outcomes, no position is missing, each view is right
        check_notes(log, contest.notes)
    return [one for one in measured if one is not None]


async def play_round(contest: Contest, number: int, chance: random.Random) -> TakeOver | None:
    """Do one thing to one contender; return the take-over if it was the leader, and others were ready to replace it."""
    fault = FAULTS[(number + CONTESTS * ROUNDS * (len(contest.contenders) - 2)) % len(FAULTS)]
    waits, hits_follower, is_short = chance.random() < 0.8, chance.random() < 0.15, chance.random() < 0.25
    duration_s, also_hits = chance.uniform(0.3, 1.4) * LEASE_S, chance.random() < 0.2
    leader = await contest.ready() if waits else await some_leader(contest)
    others = [one for one in contest.contenders if one is not leader]
    print(f"{datetime.now(UTC):%H:%M:%S.%f} round {number} of {len(others) + 1}: {fault.__name__}, {leader.name} leads")
    if hits_follower:
        async with fault(chance.choice(others)):
            await contest.has_begun(lambda name: name.startswith(leader.prefix))
            await asyncio.sleep(duration_s)  # shorter or longer than the lease
        await contest.has_begun(lambda _: True)
        return None
    async with AsyncExitStack() as stack:
        if also_hits and len(others) > 1:
            await stack.enter_async_context(cut(chance.choice(others)))
        began = time.monotonic()
        await stack.enter_async_context(fault(leader))
        if is_short:
            await asyncio.sleep(duration_s)  # it ends before another kernel leads, or at that moment, or afterwards
        else:
            await contest.has_begun(lambda name: not name.startswith(f"{leader.name}."))
    await contest.has_begun(lambda _: True)
    return take_over_of(fault.__name__, contest, leader, began) if waits and not is_short else None


async def some_leader(contest: Contest) -> Contender:
    """Return a leader, while others may still be on their way from the last change."""
    await eventually(contest.leader, PATIENCE)
    return await contest.leader() or contest.contenders[0]


def take_over_of(fault: str, contest: Contest, leader: Contender, began: float) -> TakeOver:
    def is_other(name: str) -> bool:
        return not name.startswith(f"{leader.name}.")

    notes = contest.notes
    term = min(seconds for name, seconds in notes.terms.values() if seconds > began and is_other(name))
    body = min(seconds for name, seconds, _ in notes.began if seconds > began and is_other(name))
    return TakeOver(fault, len(contest.contenders), round(term - began, 2), round(body - began, 2))


def report(measured: Sequence[TakeOver]) -> None:
    by_fault: dict[str, list[TakeOver]] = defaultdict(list)
    for one in measured:
        by_fault[one.fault].append(one)
    print(f"\nseed {seed()}, lease {LEASE_S} s: seconds until the next term, and until its first body")
    for fault, found in sorted(by_fault.items()):
        terms, bodies = sorted(one.term_s for one in found), sorted(one.body_s for one in found)
        print(f"{fault:14} {len(found):3} times, terms {terms}, bodies {bodies}")
