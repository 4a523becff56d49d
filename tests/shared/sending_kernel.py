"""A kernel that carries out orders of applications; `lead` is that of forked_kernels."""

from __future__ import annotations

import asyncio

from gnomon import Job, Kernel
from gnomon_postgres import PostgresStore


async def send(number: int) -> int:
    return number


async def lead(dsn: str, spool: str) -> None:
    """Lead until the process is killed."""
    jobs = [Job(id="send", func=send, max_instances=20, overlap="queue", queue_limit=50)]
    async with Kernel(store=PostgresStore(dsn, spool=spool), jobs=jobs):
        print("leads", flush=True)
        await asyncio.Event().wait()
