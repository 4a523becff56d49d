"""Lists as CSV and NDJSON: all that match, correctly quoted, without formulas, in bounded memory."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from gnomon import ExecutionQuery, Job, StoreError
from gnomon.domain.records import Page
from gnomon_web.http import exports
from gnomon_web.http.exports import cell_text


async def works(text: str = "") -> str:
    return text


async def breaks() -> None:
    raise ValueError('no "answer", from\nshard 7')


JOBS = [Job(id="sync", func=works, tags=["etl"]), Job(id="breaks", func=breaks, paused=True)]


async def run(ask: Any, job_id: str, **how: Any) -> str:
    await ask.kernel.clock.advance(1)
    triggered = await ask.kernel.trigger(job_id, resume=False, **how)
    return str((await ask.kernel.wait(triggered.execution.id)).id)


def rows_of(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS", 2)


@pytest.mark.usefixtures("small_pages")
async def test_a_list_of_runs_is_exported_whole_in_the_order_of_the_list(serve: Any) -> None:
    async with serve(*JOBS) as ask:
        ids = [await run(ask, "sync", actor=actor, labels={"tenant": "7"}) for actor in ("bob", "ann", "cy")]
        failed = await run(ask, "breaks", actor="=HYPERLINK(1)")
        path = "/scheduler/executions?limit=1"
        table = await ask("GET", path, headers={"Accept": "text/csv"})
        lines = await ask("GET", f"{path}&query=tag:etl&sort=by", headers={"Accept": "application/x-ndjson"})
        link = await ask("GET", f"{path}&format=csv&query=status:failed")
        page = await ask("GET", f"{path}&format=json")
        record = (await ask("GET", f"/scheduler/executions/{failed}")).json

    rows = rows_of(table.body)
    assert (table.content_type, lines.content_type) == ("text/csv", "application/x-ndjson")
    assert table.headers["Content-Disposition"] == 'attachment; filename="executions.csv"'
    assert [row["_id"] for row in rows] == [failed, *reversed(ids)]
    assert set(rows[0]) == record.keys() - {"events"}
    assert (rows[0]["error_message"], rows[0]["actor"]) == ('no "answer", from\nshard 7', "'=HYPERLINK(1)")
    assert rows[0]["timestamp"].startswith(record["timestamp"][:19])
    assert rows[1]["labels"] == '{"tenant":"7"}'
    assert [json.loads(line)["actor"] for line in lines.body.splitlines()] == ["ann", "bob", "cy"]
    assert [row["_id"] for row in rows_of(link.body)] == [failed]
    assert page.json["limit"] == 1


@pytest.mark.usefixtures("small_pages")
async def test_every_list_can_be_exported(serve: Any) -> None:
    async with serve(*JOBS) as ask:
        for _ in range(3):
            await run(ask, "sync", actor="ann")
        jobs = rows_of((await ask("GET", "/scheduler/jobs?format=csv")).body)
        some = rows_of((await ask("GET", "/scheduler/jobs?format=csv&fields=name,tags&query=tag:etl")).body)
        acts = rows_of((await ask("GET", "/scheduler/history?format=csv&action=trigger")).body)
        of_job = (await ask("GET", "/scheduler/jobs/sync/executions?format=ndjson")).body.splitlines()
        empty = await ask("GET", "/scheduler/jobs/breaks/executions?format=csv")
        nobody = await ask("GET", "/scheduler/jobs/nosuch/executions?format=csv")
        kernels = (await ask("GET", "/scheduler/kernels?format=ndjson")).body.splitlines()

    assert [(job["id"], job["tags"], job["paused"]) for job in jobs] == [
        ("breaks", "[]", "true"),
        ("sync", '["etl"]', "false"),
    ]
    assert some == [{"id": "sync", "name": "sync", "tags": '["etl"]'}]
    assert len(acts) == len(of_job) == 3
    assert rows_of(empty.body) == []
    assert empty.body.startswith(b"_id,job_id,")
    assert nobody.status == 404
    assert len(kernels) == 1


async def test_errors_come_before_the_export_begins(serve: Any) -> None:
    async with serve(*JOBS) as ask:
        invalid = await ask("GET", "/scheduler/executions?format=csv&query=status:nope")
        unknown = await ask("GET", "/scheduler/executions?format=xlsx")
        elsewhere = await ask("GET", "/scheduler/stats?format=csv")

    assert invalid.culprits == [("query", "query")]
    assert unknown.culprits == elsewhere.culprits == [("query", "format")]
    assert "expected one of json, csv, ndjson, got 'xlsx'" in unknown.json["detail"]


@pytest.mark.usefixtures("small_pages")
async def test_a_client_sees_that_an_export_was_cut(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(*JOBS) as ask:
        for _ in range(5):
            await run(ask, "sync")
        read = ask.kernel.executions

        async def broken(query: ExecutionQuery) -> Page:
            if query.cursor is not None:
                raise StoreError("the disk is gone")
            page: Page = await read(query)
            return page

        monkeypatch.setattr(ask.kernel, "executions", broken)
        with pytest.raises(aiohttp.ClientError):
            await ask("GET", "/scheduler/executions?format=csv")


async def test_a_large_export_is_read_as_its_client_reads_it(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is read from the store when the one before has been sent, however slowly the client reads."""
    most, reads = 30, 0

    async with serve(*JOBS) as ask:
        await run(ask, "sync", kwargs={"text": "x" * 2_000})
        (view,) = (await ask.kernel.executions(ExecutionQuery())).items

        async def endless(query: ExecutionQuery) -> Page:
            nonlocal reads
            reads += 1
            await asyncio.sleep(0)
            return Page([view] * query.limit, most * query.limit, "more" if reads < most else None)

        monkeypatch.setattr(ask.kernel, "executions", endless)
        url = f"{ask.web.url}/scheduler/executions?format=ndjson"
        async with ask.client.get(url, headers={"Accept-Encoding": "identity"}) as response:
            await response.content.readexactly(10_000)
            before = -1
            while before != reads:  # until nothing more fits into the buffers between both
                before = reads
                await asyncio.sleep(0.05)
            assert reads < most
            size = 10_000 + len(await response.content.read())

    assert reads == most
    assert size > most * 1_000 * 2_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (-1.5, "-1.5"),
        (7, "7"),
        (datetime(2026, 12, 1, 12, tzinfo=UTC), "2026-12-01T12:00:00+00:00"),
        ([1, "a"], '[1,"a"]'),
        ({}, "{}"),
        ('plain, "quoted"', 'plain, "quoted"'),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        (" =1", "' =1"),
        ("\x1b[31mred\u202e", "\\x1b[31mred\\u202e"),
    ],
)
def test_a_cell_is_text_that_no_spreadsheet_runs_and_no_terminal_obeys(value: Any, text: str) -> None:
    assert cell_text(value) == text
