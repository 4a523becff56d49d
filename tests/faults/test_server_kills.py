"""What is left when servers and kernels are killed with SIGKILL while they write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from append_writer import AppendWriter
from fault_runs import rounds, variants
from gnomon.testing.log_checks import check_store
from log_places import LogServer, make_database, place_on, server_of, store_of

ROUNDS = rounds(3, 20)
IN_GOOD_TIMES, IN_THE_OUTAGE = 25, 40
"""Acknowledged appends before the next thing is killed."""


class Setup(NamedTuple):
    """A server with a log, and the driver of its clients, where there are several."""

    server: LogServer
    place: str
    driver: str


@pytest.fixture(params=variants("mongo motor", "postgres psycopg", long=["mongo pymongo"]))
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    kind, driver = request.param.split()
    with server_of(kind, tmp_path / "server") as server:
        make_database(server, "crash")
        yield Setup(server, place_on(server, "crash"), driver)


@pytest.fixture
def start_writer(setup: Setup, tmp_path: Path) -> Iterator[Callable[[], AppendWriter]]:
    writers: list[AppendWriter] = []

    def start() -> AppendWriter:
        writers.append(AppendWriter(setup.place, tmp_path / "spool.db", setup.driver))
        return writers[-1]

    yield start
    for writer in writers:
        writer.close()


@pytest.mark.timeout(200 + ROUNDS * 30)
async def test_killing_server_and_kernel_again_and_again_loses_and_doubles_nothing(
    setup: Setup, start_writer: Callable[[], AppendWriter], tmp_path: Path
) -> None:
    acknowledged = 0
    writer = start_writer()
    for round_ in range(ROUNDS):
        writer.expect(IN_GOOD_TIMES + 3 * round_)
        setup.server.kill()
        writer.expect(IN_THE_OUTAGE)
        if round_ % 2:
            acknowledged = max(acknowledged, writer.kill())
            setup.server.start()
            writer = start_writer()
        else:
            setup.server.start()
    writer.expect(IN_GOOD_TIMES)
    acknowledged = max(acknowledged, writer.kill())

    async with store_of(setup.place, tmp_path / "spool.db") as store:
        log = await check_store(store)
        assert len(log) == await store.head() >= acknowledged > ROUNDS * IN_THE_OUTAGE
        assert store.health().state == "healthy"
