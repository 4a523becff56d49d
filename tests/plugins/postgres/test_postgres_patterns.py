"""Patterns of job ids on the server: the same ids match as in Python."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase

import psycopg

from gnomon_postgres.lists.job_patterns import expression

MATCHING = 'SELECT id FROM unnest(%s::text[]) AS id WHERE id COLLATE "C" ~ ANY(%s::text[])'


def test_patterns_match_the_same_ids_as_in_python(dsn: str) -> None:
    chance = random.Random(1)
    patterns = ["".join(chance.choices("abz-]![*?\\^.é", k=chance.randrange(1, 8))) for _ in range(2_000)]
    ids = sorted({"".join(chance.choices("abz-]![\\^.cé\n", k=chance.randrange(6))) for _ in range(60)})

    with psycopg.connect(dsn) as connection:
        for pattern in patterns:
            found = {one for (one,) in connection.execute(MATCHING, (ids, [expression(pattern)]))}
            assert found == {one for one in ids if fnmatchcase(one, pattern)}, pattern
