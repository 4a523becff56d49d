"""A kernel that runs elsewhere, over HTTP: its words are those of the kernel.

    async with Client("https://gnomon.example", token="...") as client:
        triggered = await client.trigger("sync", kwargs={"market": "hk"})
        async for frame in client.follow(triggered.execution.id):
            print(frame.status, frame.progress, frame.message)

Nothing else of Gnomon but the command line imports this package.
"""

from __future__ import annotations

from gnomon.client.client import Client as Client
from gnomon.client.errors import ClientError as ClientError
from gnomon.client.errors import LogReplacedError as LogReplacedError
from gnomon.client.errors import NoServerError as NoServerError
from gnomon.client.errors import NotAllowedError as NotAllowedError
from gnomon.client.wire import Day as Day
from gnomon.client.wire import ExecutionPage as ExecutionPage
from gnomon.client.wire import JobDetail as JobDetail
from gnomon.client.wire import JobStatistics as JobStatistics
from gnomon.client.wire import JobSummary as JobSummary
from gnomon.frames import RunFrame as RunFrame
