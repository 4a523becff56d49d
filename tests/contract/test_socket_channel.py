"""The socket of a log fulfils the contract of order channels."""

from pathlib import Path

import pytest

from gnomon.ports import OrderChannel
from gnomon.testing.contracts import OrderChannelContract
from gnomon_sqlite import SqliteStore


class TestSocketChannel(OrderChannelContract):
    largest = 32 * 1024 * 1024
    at_once = 500

    @pytest.fixture
    async def leading(self, tmp_path: Path) -> OrderChannel:
        return SqliteStore(tmp_path / "log.db").orders()

    @pytest.fixture
    async def following(self, tmp_path: Path) -> OrderChannel:
        return SqliteStore(tmp_path / "log.db").orders()
