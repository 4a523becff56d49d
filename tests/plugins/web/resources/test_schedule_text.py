"""The words of a schedule are found once for all copies of a job, and never confused with those of another one."""

from __future__ import annotations

from gnomon import Job
from gnomon.durations import Duration
from gnomon.jobs.registered import own_job
from gnomon_web.resources import schedule_text
from gnomon_web.resources.schedule_text import describe_schedule


async def body() -> None: ...


def test_copies_of_a_job_are_described_once_and_others_on_their_own() -> None:
    jobs = [
        Job(id="a", func=body, every=Duration(minutes=7)),
        Job(id="b", func=body, every=Duration(minutes=7), exclude=["0 3 * * *"]),
        Job(id="c", func=body, cron="0 1 * * *"),
        Job(id="d", func=body, cron="0 1 * * *", timezone="Asia/Shanghai"),
        Job(id="e", func=body, cron="0 1 * * *", after=["a"]),
        Job(id="f", func=body, after=["a"]),
        Job(id="g", func=body),
    ]
    found = [describe_schedule(job) for job in jobs]
    misses = schedule_text._describe.cache_info().misses
    assert [describe_schedule(own_job(job)) for job in jobs] == found
    assert schedule_text._describe.cache_info().misses == misses
    assert len({str(one) for one in found}) == len(jobs)
