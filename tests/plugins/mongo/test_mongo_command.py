"""`gnomon mongo verify` and `gnomon mongo rebuild`, called in a process as an operator calls them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.testing.histories import append, succeeded
from gnomon_mongo import MongoStore, schema
from gnomon_mongo.drivers import Driver
from gnomon_mongo.views import projection
from store_commands import Run, caller, fill

CONFIG = """
[plugins.mongo]
uri = "{uri}"
database = "{database}"
driver = "pymongo"
"""


@pytest.fixture
def driver() -> Driver:
    return Driver("pymongo")


@pytest.fixture
async def gnomon(server_uri: str, database: Any, tmp_path: Path) -> Run:
    """Provide a function that calls `gnomon mongo ...` and returns its exit code and all that it said."""
    (tmp_path / "gnomon.toml").write_text(CONFIG.format(uri=server_uri, database=database.name), encoding="utf-8")
    return caller("mongo", tmp_path)


async def test_verify_shows_the_numbers_of_each_job_beside_a_running_kernel(store: MongoStore, gnomon: Run) -> None:
    await fill(store)

    code, said = await gnomon("verify")

    assert code == 0, said
    assert "report  1 running; last running" in said
    assert "sync    1 success, 1 failed; 2.5 s on average; last failed" in said
    assert "the views of all 3 runs match their events" in said


async def test_verify_names_what_is_wrong_and_rebuild_mends_it(store: MongoStore, database: Any, gnomon: Run) -> None:
    changed, lost, right = await fill(store)
    await database[schema.EXECUTIONS].update_one({"gnomon.view": {"$regex": changed}}, [
        {"$set": {"gnomon.view": {"$replaceOne": {"input": "$gnomon.view", "find": "2.5", "replacement": "9.5"}}}}
    ])  # fmt: skip
    await database[schema.EXECUTIONS].delete_one({"status": "failed"})

    refused = await gnomon("rebuild")
    await store.close()
    code, said = await gnomon("verify")

    assert refused[0] == 1
    assert "is in use by process" in refused[1]
    assert code == 1
    assert f"✘ {changed}: its view differs from its events" in said
    assert f"✘ {lost}: its view differs from its events" in said
    assert right not in said
    assert "gnomon mongo rebuild" in said

    code, said = await gnomon("rebuild")

    assert code == 0, said
    assert "9 events folded into 3 runs" in said
    assert (await gnomon("verify"))[0] == 0


async def test_a_rebuild_that_was_stopped_between_is_begun_again_by_the_next_start(
    store: MongoStore, make_store: Callable[..., MongoStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(store, succeeded("a"))
    await append(store, succeeded("b"))

    async def stopped(*_: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(projection, "_project", stopped)
        with pytest.raises(KeyboardInterrupt):
            await store.rebuild()
    assert await store.differences() != []
    await store.close()

    async with make_store() as again:
        assert await again.differences() == []


async def test_a_log_in_another_store_is_not_looked_at(gnomon: Run, tmp_path: Path) -> None:
    (tmp_path / "gnomon.toml").write_text("[plugins.sqlite]\n", encoding="utf-8")

    code, said = await gnomon("verify")

    assert code == 2
    assert "keeps its log in another store: sqlite" in said


def test_without_the_driver_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "gnomon.toml").write_text(CONFIG.format(uri="mongodb://127.0.0.1", database="x"), encoding="utf-8")
    call = "import sys; sys.modules['pymongo'] = None; from gnomon.cli import main; main(['mongo', 'verify'])"

    done = subprocess.run([sys.executable, "-c", call], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "pip install 'gnomon[mongo]'" in done.stderr
    assert "Traceback" not in done.stderr
