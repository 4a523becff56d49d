"""Connection strings: each wrong one gives its reason, and no part of a password."""

from __future__ import annotations

import pytest

from gnomon.errors import StoreError
from gnomon_postgres import PostgresStore, log_address


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("", "it is empty, as that of a variable without a value"),
        (" \n", "it is empty"),
        ("hunter2", 'a word has no "="'),
        ("host=db password=a hunter2 dbname=app", 'a word has no "="'),
        ("mysql://gnomon:hunter2@db/app", 'it begins neither with "postgresql://" nor with "postgres://"'),
        ("postgresql+psycopg://gnomon:hunter2@db/app?sslmode=require", "is written without its driver"),
        ("password='hunter2 host=db", "a value begins with a single quote, and does not end with one"),
        ("host=db sslmood=require password=hunter2", 'it has the unknown option "sslmood"'),
        ("postgresql://gnomon:hun%ter2@db/app", 'a "%" does not begin two hexadecimal digits'),
        ("postgresql://gnomon:hunter2%00@db/app", 'a "%" does not begin two hexadecimal digits'),
        ("postgresql://gnomon:hun@hunter2@db/app", 'an "@" or "/" of the password has to be percent-encoded'),
        ("postgresql://gnomon:hun/hunter2@db/app", 'an "@" or "/" of the password has to be percent-encoded'),
        ("postgresql://gnomon:hunter2@[::1/app", "an IPv6 address is not as in"),
        ("postgresql://gnomon:hunter2@[::1]x/app", "an IPv6 address is not as in"),
        ("postgresql://gnomon:hunter2@db/app?sslmode", 'the options behind the "?" are not as in'),
        ("host=db\0 password=hunter2", "it has a NUL character"),
        ("host=\ud800 password=hunter2", "it has half a character"),
    ],
)
async def test_a_wrong_connection_string_is_refused_with_its_reason_and_without_the_password(
    dsn: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=r"; expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE") as refused:
        log_address.parse(dsn)
    with pytest.raises(StoreError, match=r"^`dsn` is not a connection string of PostgreSQL: ") as unopened:
        await PostgresStore(dsn).open()

    for said in (str(refused.value), str(unopened.value)):
        assert reason in said
        assert "hun" not in said


@pytest.mark.parametrize("schema", ["", "a\0b", "\ud800", "x" * 64, "pg_log", "information_schema"])
async def test_a_name_that_the_server_would_cut_or_refuse_is_refused_before(schema: str) -> None:
    with pytest.raises(StoreError, match=r"^`schema` is not valid: .*, got "):
        await PostgresStore("host=db", schema).open()


def test_the_place_for_display_is_where_libpq_connects_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def place(dsn: str) -> str:
        return log_address.place(log_address.parse(dsn))

    assert place("postgresql://ann:hunter2@db1:5433,db2/app?sslmode=require") == "db1:5433,db2:5432/app"
    assert place("host=/run/postgresql user=ann") == "/run/postgresql:5432/ann"
    monkeypatch.setenv("PGHOST", "db9")
    monkeypatch.setenv("PGPORT", "6000")
    assert place("dbname=app") == "db9:6000/app"
