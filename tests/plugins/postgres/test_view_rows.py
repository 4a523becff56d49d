"""Rows as parameters, which are written out as arrays: the server reads the values that were meant."""

from __future__ import annotations

from datetime import timedelta

from gnomon.testing.histories import NOON
from gnomon_postgres.schema.view_rows import FIRES, arrays, given
from gnomon_postgres.server import Server

TEXTS = ["", "null", "NULL", "a", " a ", "{a,b}", '"', "\\", '\\"', "a\nb\tc\x01", "\\n", "\u2028ü漢🙂", "'%s'"]


async def test_texts_and_times_arrive_as_they_are(dsn: str) -> None:
    times = [NOON + timedelta(microseconds=number) for number in range(len(TEXTS))]
    rows = [*zip(TEXTS, times, [None, *times[1:]], strict=True), (None, None, None)]
    server = Server(dsn, "gnomon", timeout=30.0)
    await server.connect()

    async with server.reading() as connection:
        for some in (rows, [row for row in rows if row[0] in {None, "a"}]):  # with texts that JSON escapes, and without
            statement = f"SELECT * FROM {given(FIRES)}"  # noqa: S608 - our own names
            assert await connection.fetch(statement, arrays(some)) == some

    await server.close()
