"""Which arguments look like secrets in plain text, and which do not."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.jobs.plain_secrets import plain_secrets


@pytest.mark.parametrize(
    ("kwargs", "places"),
    [
        ({"password": "x"}, ["kwargs.password"]),
        ({"headers": {"Authorization": "Basic YW5uYTpzZWNyZXQ="}}, ["kwargs.headers.Authorization"]),
        ({"headers": {"X-Api-Key": "abc", "Cookie": "a=b"}}, ["kwargs.headers.X-Api-Key", "kwargs.headers.Cookie"]),
        ({"headers": ["X-Note: Bearer abcdefgh1234"]}, ["kwargs.headers[0]"]),
        ({"url": "https://example.org/data?page=2&api_key=abcdef"}, ["kwargs.url"]),
        ({"argv": ["sync", "--password=geheim", "--db-password", "geheim"]}, ["kwargs.argv[1]", "kwargs.argv[3]"]),
        ({"dsn": "x", "url": "postgres://anna:geheim@db/prices"}, ["kwargs.dsn", "kwargs.url"]),
        ({"argv": ["sync", "--token-file", "/etc/token", "--date", "2026-11-28"]}, []),
        ({"url": "https://example.org/tokens?page=2", "keyword": "basic facts", "monkey": "bearer of news"}, []),
        ({"symbols": ["000001.SZ", "600519.SH"], "author": "anna"}, []),
    ],
)
def test_values_that_look_like_secrets_are_named(kwargs: dict[str, Any], places: list[str]) -> None:
    assert [place for place, _ in plain_secrets(kwargs, "kwargs")] == places
