from collections.abc import AsyncIterator

import pytest

from gnomon.ports import Store
from gnomon.stores.memory import MemoryStore
from gnomon.testing.contracts import StoreContract


class TestMemoryStore(StoreContract):
    durable = exclusive = readable_beside = False

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with MemoryStore() as store:
            yield store
