from __future__ import annotations

from pathlib import Path

from gnomon.domain.records import Checkpoint
from gnomon.testing.kernels import make_kernel
from gnomon_sqlite import SqliteStore


async def test_a_log_keeps_its_name_and_no_other_log_has_it(tmp_path: Path) -> None:
    names = []
    for file in ("a.db", "a.db", "b.db"):
        async with make_kernel(store=SqliteStore(tmp_path / file)) as kernel:
            names.append(kernel.log_id)

    assert names[0] == names[1] != names[2]
    assert len(names[0]) == 24


async def test_a_plugin_keeps_its_view_with_its_position() -> None:
    async with make_kernel() as kernel:
        assert await kernel.checkpoint("mine") is None
        await kernel.save_checkpoint("mine", Checkpoint(7, b"seven"))
        await kernel.save_checkpoint("mine", Checkpoint(6, b"six"))

        assert await kernel.checkpoint("mine") == Checkpoint(7, b"seven")
