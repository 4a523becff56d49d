"""A disk that is full under PostgreSQL: no run starts, nothing is lost, and runs go on when there is room."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from full_disks import fill
from gnomon.testing.log_checks import check_store
from gnomon_postgres import PostgresStore
from gnomon_process import Gnomon
from log_checker import check_events, read_postgres_events
from log_places import config_section
from postgres_servers import PostgresServer, find_postgres, make_folder, other_user

SIZE_MIB = 96
JOBS = """
[kernel]
drain = "200ms"
[[jobs]]
id = "tick"
func = "disk_jobs:tick"
every = "100ms"
cancel_grace = "100ms"
"""


@pytest.fixture
def server(mounted: Callable[..., Path]) -> Iterator[PostgresServer]:
    """Provide a server whose data is on a small disk."""
    disk = mounted("tmpfs", SIZE_MIB, make_folder())
    if user := other_user():
        shutil.chown(disk, user)
    server = PostgresServer(find_postgres(), disk)
    server.initialize()
    server.start()
    yield server
    server.clean_up()


@pytest.mark.timeout(300)
async def test_runs_go_on_after_a_full_disk_has_room_again(
    server: PostgresServer, start: Callable[..., Gnomon], tmp_path: Path
) -> None:
    (tmp_path / "disk_jobs.py").write_text("async def tick():\n    return 'x' * 1000\n")
    (tmp_path / "gnomon.toml").write_text(config_section(server.dsn(), tmp_path / "spool.db") + JOBS)
    kernel = start("run", "--log-format", "json")
    accepted = {kernel.wait_for("succeeded")["run"] for _ in range(3)}

    filler = fill(server.folder)
    kernel.wait_for("PostgreSQL is down, no runs are started")
    filler.unlink()
    server.revive()
    accepted |= {kernel.wait_for("succeeded")["run"] for _ in range(3)}
    kernel.send(signal.SIGTERM)

    assert kernel.ends() == 0, kernel.errors
    async with PostgresStore(server.dsn(), spool=tmp_path / "spool.db") as store:
        log = await check_store(store)
    assert accepted <= {event.stream for event in log if event.type == "succeeded"}
    check_events(read_postgres_events(server.dsn()), accepted=accepted)
