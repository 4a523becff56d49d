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
from gnomon.wire.records import Day as Day
from gnomon.wire.records import ExecutionPage as ExecutionPage
from gnomon.wire.records import JobDetail as JobDetail
from gnomon.wire.records import JobStatistics as JobStatistics
from gnomon.wire.records import JobSummary as JobSummary
from gnomon.wire.run_frame import RunFrame as RunFrame
