"""A log that is moved from SQLite to MongoDB and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gnomon_mongo import MongoStore
from moved_logs import move_there_and_back


async def test_a_log_that_moves_to_mongodb_and_back_is_the_same(
    make_store: Callable[..., MongoStore], tmp_path: Path
) -> None:
    await move_there_and_back(make_store(), tmp_path)
