"""Kernels that are killed with SIGKILL while messages are being sent: each message is received at least once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import outbox_process
from fault_runs import rounds
from gnomon import Failed, Kernel
from outbox_process import PATHS
from receiver import Receiver, receiving
from servers import eventually


@asynccontextmanager
async def life(database: Path, receiver: Receiver) -> AsyncIterator[None]:
    """Run a kernel in a process, and kill it at the end of the block."""
    process = await asyncio.create_subprocess_exec(sys.executable, outbox_process.__file__, str(database), receiver.url)
    try:
        yield
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


async def failures(kernel: Kernel) -> list[str]:
    found, after = list[str](), 0
    while page := await kernel.events(after):
        found += [event.stream for event in page if isinstance(event, Failed)]
        after = page[-1].position
    return found


async def test_a_killed_kernel_loses_no_message_and_the_next_one_that_leads_sends_the_rest(tmp_path: Path) -> None:
    database = tmp_path / "log.db"
    async with receiving() as receiver:
        for number in range(rounds(short=1, long=20)):
            # The last request of each has no answer when the kernel is killed.
            receiver.answers = {
                "/first": [*[200] * (number % 4), 500, "garbage", 200, "hang"],
                "/second": ["reset", 503, *[200] * (number % 3), "hang"],
            }
            async with life(database, receiver):
                await receiver.until(lambda: not any(receiver.answers.values()))

        receiver.always = {"/second": 503}  # this one is down, and holds back no other
        async with AsyncExitStack() as stack:
            async with life(database, receiver):
                count = len(receiver.accepted_by("/first"))
                await receiver.until(lambda: len(receiver.accepted_by("/first")) > count)
                follower = await stack.enter_async_context(outbox_process.make(str(database), receiver.url))
                assert follower.health().role == "follower"
            receiver.always = {}
            await eventually(lambda: follower.health().role == "leader")
            due = set(await failures(follower))
            await receiver.until(lambda: all(due <= set(receiver.accepted_by(path)) for path in PATHS))
            runs = await failures(follower)

    for path in PATHS:
        accepted = receiver.accepted_by(path)
        assert set(receiver.to(path)) <= set(runs)
        # In log order. The last message before the second kill may be repeated: its position may not be saved yet.
        once = list(dict.fromkeys(accepted))
        assert once == runs[: len(once)]
        assert due <= set(once)
        assert len(accepted) <= len(once) + 1
