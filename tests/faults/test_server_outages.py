"""Three kernels on one log whose server is killed, stopped and started again: nothing is lost, doubled or out of order.

Every answer of the server takes 50 ms longer. In every second round the leader is killed, too.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from contest_checks import check_notes
from fault_runs import rounds, seed
from gnomon.testing.log_checks import check_store
from log_checker import check_events, read_postgres_events
from log_contest import LEASE_S, Contest, contest_of, kill
from log_places import LogServer, patient, server_of, store_of

ROUNDS = rounds(short=4, long=20)
LATENCY_S = 0.05


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LogServer]:
    with server_of("postgres", tmp_path / "server") as server:
        yield server


@asynccontextmanager
async def dead(server: LogServer) -> AsyncIterator[None]:
    """Kill the server, and start it again."""
    server.kill()
    yield
    await asyncio.to_thread(server.start)  # the proxies are in this loop


@asynccontextmanager
async def stopped(server: LogServer) -> AsyncIterator[None]:
    """Stop the server, which answers later what was asked meanwhile."""
    server.send(signal.SIGSTOP)
    yield
    server.send(signal.SIGCONT)


@pytest.mark.timeout(300 + ROUNDS * 60)
async def test_three_kernels_lose_and_double_nothing_while_their_server_is_away(
    server: LogServer, tmp_path: Path
) -> None:
    chance = random.Random(seed())
    async with contest_of(3, server, tmp_path / "contest") as contest:
        for contender in contest.contenders:
            contender.proxy.delay_s = LATENCY_S
        for number in range(ROUNDS):
            await play_round(contest, server, number, chance)
        await contest.end()
        async with store_of(contest.place, **patient(tmp_path / "spool.db")) as store:
            log = await check_store(store)
        check_notes(log, contest.notes)
        check_events(read_postgres_events(contest.place), accepted=contest.notes.ordered.values(), ended=False)


async def play_round(contest: Contest, server: LogServer, number: int, chance: random.Random) -> None:
    """End the server once, for a time in which the lease may run out, and return when bodies begin again."""
    leader = await contest.ready()
    await contest.has_begun(lambda name: name.startswith(leader.prefix))
    async with AsyncExitStack() as stack:
        if number % 2:
            await stack.enter_async_context(kill(leader))
        async with chance.choice((dead, stopped))(server):
            await asyncio.sleep(chance.uniform(0.2, 1.4) * LEASE_S)  # shorter or longer than the lease
    await contest.has_begun(lambda _: True)
