"""`gnomon postgres verify`, `rebuild` and `spool`, called in a process as an operator calls them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from gnomon_postgres import PostgresStore
from log_places import config_section
from store_commands import Run, caller, fill


@pytest.fixture
async def store(dsn: str, tmp_path: Path) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(dsn, spool=tmp_path / "spool.db") as store:
        yield store


@pytest.fixture
def gnomon(dsn: str, tmp_path: Path) -> Run:
    """Provide a function that calls `gnomon postgres ...` and returns its exit code and all that it said."""
    (tmp_path / "gnomon.toml").write_text(config_section(dsn, tmp_path / "spool.db"), encoding="utf-8")
    return caller("postgres", tmp_path)


async def test_verify_shows_the_numbers_of_each_job_beside_a_running_kernel(store: PostgresStore, gnomon: Run) -> None:
    await fill(store)

    code, said = await gnomon("verify")

    assert code == 0, said
    assert "report  1 running; last running" in said
    assert "sync    1 success, 1 failed; 2.5 s on average; last failed" in said
    assert "the views of all 3 runs match their events" in said
    assert await gnomon("spool") == (0, "a kernel uses the spool: its health shows how many events wait\n")


async def test_verify_names_what_is_wrong_and_rebuild_mends_it(store: PostgresStore, dsn: str, gnomon: Run) -> None:
    changed, lost, right = await fill(store)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "UPDATE gnomon.ended SET body = convert_to(replace(convert_from(body, 'UTF8'), '2.5', '9.5'), 'UTF8') "
            "WHERE id = %s",
            (changed,),
        )
        connection.execute("DELETE FROM gnomon.ended WHERE id = %s", (lost,))

    refused = await gnomon("rebuild")
    await store.close()
    code, said = await gnomon("verify")

    assert refused[0] == 1
    assert "is in use by process" in refused[1]
    assert code == 1
    assert f"✘ {changed}: its view differs from its events" in said
    assert f"✘ {lost}: its view differs from its events" in said
    assert right not in said
    assert "gnomon postgres rebuild" in said

    code, said = await gnomon("rebuild")

    assert code == 0, said
    assert "9 events folded into 3 runs" in said
    assert (await gnomon("verify"))[0] == 0
    assert await gnomon("spool") == (0, "0 events wait in the spool, 0 bytes\n")


async def test_a_log_in_another_store_is_not_looked_at(gnomon: Run, tmp_path: Path) -> None:
    (tmp_path / "gnomon.toml").write_text("[plugins.sqlite]\n", encoding="utf-8")

    code, said = await gnomon("verify")

    assert code == 2
    assert "keeps its log in another store: sqlite" in said


def test_without_the_driver_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "gnomon.toml").write_text("[plugins.postgres]\n", encoding="utf-8")
    call = "import sys; sys.modules['psycopg'] = None; from gnomon.cli import main; main(['postgres', 'verify'])"

    done = subprocess.run([sys.executable, "-c", call], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "pip install 'gnomon[postgres]'" in done.stderr
    assert "Traceback" not in done.stderr
