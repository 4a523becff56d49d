"""Long frames to dashboards are deflated for clients that read that; each stands alone, so clients share them."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from gnomon import Job
from gnomon_web.live.websocket import MIN_DEFLATED_BYTES, text_frame


async def quick() -> None: ...


def payload(frame: bytes) -> bytes:
    size = frame[1]
    return frame[{126: 4, 127: 10}.get(size, 2) :]


@pytest.mark.parametrize("size", [MIN_DEFLATED_BYTES, 70_000])
def test_a_deflated_frame_has_the_text_and_needs_no_frame_before(size: int) -> None:
    text = (b'{"job_id":"sync"}' * size)[:size]
    frames = [text_frame(text, deflated=True) for _ in range(2)]
    assert frames[0] == frames[1]
    assert frames[0][0] == 0xC1
    assert len(frames[0]) < size / 10
    reader = zlib.decompressobj(wbits=-zlib.MAX_WBITS)  # a browser goes on with the same one
    assert [reader.decompress(payload(frame) + b"\0\0\xff\xff") for frame in frames] == [text, text]


def test_short_frames_and_those_of_other_clients_are_sent_as_they_are() -> None:
    short, long = b"x" * (MIN_DEFLATED_BYTES - 1), b"x" * MIN_DEFLATED_BYTES
    assert payload(text_frame(short, deflated=True)) == short
    assert payload(text_frame(long)) == long


@pytest.mark.parametrize("window", [0, 15, 11])
async def test_a_dashboard_reads_its_snapshot_with_and_without_compression(serve: Any, window: int) -> None:
    jobs = [Job(id=f"job-{number}", func=quick, description="the same words " * 20) for number in range(30)]
    async with serve(*jobs) as site, site.dashboard(compress=window) as page:
        snapshot = await page.next("snapshot")
        for job in jobs[:3]:
            await site.kernel.pause(job.id)
        paused = 0
        while paused < 3:
            paused += len((await page.next("delta"))["jobs"])
    assert [job["id"] for job in snapshot["jobs"]] == sorted(job.id for job in jobs)
