"""Exports and imports that are killed at any moment: the next one goes on, and nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from fault_runs import variants
from killed_moves import move_with_kills


@pytest.mark.any_python
@pytest.mark.parametrize("suffix", variants(".jsonl.gz", long=[".jsonl"]))
async def test_moves_that_are_killed_go_on_and_double_nothing(tmp_path: Path, suffix: str) -> None:
    await move_with_kills(str(tmp_path / "target.db"), tmp_path / f"log{suffix}", tmp_path)
