"""Pages and bytes of a log that change on the disk: harmless, or found; never served, never silently overwritten."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fault_runs import rounds
from gnomon.errors import GnomonError
from gnomon.testing.histories import append, scheduled
from gnomon_sqlite import SqliteStore
from whole_log import everything, various

PAGE = 4096
DAMAGED_LINE = "is damaged in the log"
RUNS = 60


def flip(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 8))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def overwrite_bytes(content: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(content) - 64)
    content[place : place + 64] = chance.choice((bytes(64), chance.randbytes(64)))


def overwrite_page(content: bytearray, chance: random.Random) -> None:
    place = chance.randrange(1, len(content) // PAGE) * PAGE
    content[place : place + PAGE] = chance.choice((bytes(PAGE), chance.randbytes(PAGE)))


DAMAGES = (flip, overwrite_bytes, overwrite_page)


@pytest.fixture
def original(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    path = tmp_path / "original" / "gnomon.db"
    path.parent.mkdir()

    async def write() -> dict[str, Any]:
        async with SqliteStore(path) as store:
            await various(store, RUNS)
        async with SqliteStore(path) as store:
            return await everything(store)

    return path, asyncio.run(write())


def damaged_copy(
    original: Path, folder: Path, damage: Callable[[bytearray, random.Random], None], chance: random.Random
) -> Path:
    folder.mkdir()
    path = folder / "gnomon.db"
    shutil.copy(original.with_name("gnomon.db.mark"), folder)
    content = bytearray(original.read_bytes())
    damage(content, chance)
    path.write_bytes(content)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return what was read wrongly; a line that says that it is damaged was not."""
    found["lines"] = [
        [whole if DAMAGED_LINE in line.text else line for line, whole in zip(lines, known, strict=True)]
        for lines, known in zip(found["lines"], expected["lines"], strict=True)
    ]
    return [name for name in expected if found[name] != expected[name]]


BY_INDEX = ("executions", "of one job", "failed", "by text", "job events", "one by one", "streams")
"""What is read through an index: while the log is open, a damaged entry of one hides a record until the next start."""


def is_incomplete(name: str, found: dict[str, Any], expected: dict[str, Any]) -> bool:
    some, whole = (values if isinstance(values, list) else values.items for values in (found[name], expected[name]))
    return name in BY_INDEX and all(not one or one in whole for one in some)


async def read_all(store: SqliteStore, expected: dict[str, Any], *, is_open: bool = False) -> tuple[str, list[str]]:
    try:
        found = await everything(store)
    except GnomonError:
        return "named when read", []
    wrong = differences(found, expected)
    if is_open and wrong and all(is_incomplete(name, found, expected) for name in wrong):
        return "incomplete until the next start", []
    return ("harmless" if not wrong else "wrong"), wrong


@pytest.mark.timeout(1800)
async def test_damage_of_a_closed_log_is_harmless_or_found(
    original: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    source, expected = original
    chance, outcomes = random.Random(5), Counter[str]()
    for number in range(rounds(short=30, long=1500)):
        damage = chance.choice(DAMAGES)
        path = damaged_copy(source, tmp_path / str(number), damage, chance)
        before = digest(path)
        with capture_logs() as logged:
            try:
                async with SqliteStore(path) as store:
                    outcome, wrong = await read_all(store, expected)
            except GnomonError:
                outcome, wrong = "refused", []
        assert outcome != "refused" or digest(path) == before, f"round {number}, {damage.__name__}: overwritten"
        assert not wrong, f"round {number}, {damage.__name__}: wrong {wrong}"
        if outcome == "harmless" and any("again from the" in one["event"] for one in logged):
            outcome = "repaired"
        outcomes[outcome] += 1
        shutil.rmtree(path.parent)
    print(dict(outcomes))
    assert outcomes["refused"] + outcomes["named when read"] > 0


@pytest.mark.timeout(1800)
async def test_damage_of_an_open_log_is_harmless_or_found(
    original: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    source, expected = original
    chance, outcomes = random.Random(6), Counter[str]()
    for number in range(rounds(short=15, long=500)):
        damage = chance.choice(DAMAGES)
        path = tmp_path / str(number) / "gnomon.db"
        shutil.copytree(source.parent, path.parent)
        with capture_logs():
            try:
                async with SqliteStore(path) as store:
                    if chance.random() < 0.5:
                        await everything(store)  # its pages are in memory
                    content = bytearray(path.read_bytes())
                    damage(content, chance)
                    with path.open("r+b") as file:
                        file.write(content)
                    outcome, wrong = await read_all(store, expected, is_open=True)
                    assert not wrong, f"round {number}, {damage.__name__}: wrong {wrong}"
                    await append(store, scheduled("next"))
                async with SqliteStore(path) as store:
                    found = await everything(store)
                assert found["events"][: len(expected["events"])] == expected["events"], number
                assert all(one in found["executions"].items for one in expected["executions"].items), number
            except GnomonError:
                outcome = "named"
        outcomes[outcome] += 1
        shutil.rmtree(path.parent)
    print(dict(outcomes))
    assert outcomes["named"] + outcomes["named when read"] > 0
