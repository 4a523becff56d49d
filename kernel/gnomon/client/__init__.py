"""Talk to a kernel in another process over HTTP, with the same calls and errors as the kernel's own.

    async with Client("https://gnomon.example", token="...") as client:
        triggered = await client.trigger("sync", kwargs={"market": "hk"})
        async for frame in client.follow(triggered.execution.id):
            print(frame.status, frame.progress, frame.message)

`SyncClient` has the same calls as plain methods. Only the command line imports this package; the kernel never does.
"""

from __future__ import annotations

from gnomon.client.blocking import SyncClient as SyncClient
from gnomon.client.client import Client as Client
from gnomon.client.errors import ClientError as ClientError
from gnomon.client.errors import LogReplacedError as LogReplacedError
from gnomon.client.errors import NoServerError as NoServerError
from gnomon.client.errors import NotAllowedError as NotAllowedError
from gnomon.domain.job_preview import JobPreview as JobPreview
from gnomon.domain.records import Page as Page
from gnomon.wire.records import JobDetail as JobDetail
from gnomon.wire.records import JobSummary as JobSummary
from gnomon.wire.run_frame import RunFrame as RunFrame
from gnomon.wire.statistics import Day as Day
from gnomon.wire.statistics import JobStatistics as JobStatistics
from gnomon.wire.statistics import LabelNames as LabelNames
from gnomon.wire.statistics import LabelStatistics as LabelStatistics
