"""Writes jobs as the tables of a config file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

import msgspec

from gnomon.durations import encode_hook
from gnomon.jobs.job import Job

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
FIRST = ("id", "func", "name", "description")
NOT_PLAIN = re.compile("[\x7f\x85\u2028\u2029]")


def write_job_tables(jobs: Iterable[Job]) -> str:
    """Return jobs as TOML: a table `[[jobs]]` for each, with the keys that differ from the defaults."""
    return "\n".join(_table(job) for job in jobs)


def _table(job: Job) -> str:
    given = job.given()
    # The times of TOML are kept as such; all other values are those of the log.
    times = {key: value for key, value in given.items() if isinstance(value, date | datetime)}
    keys = msgspec.to_builtins({**given, "func": job.func}, enc_hook=encode_hook) | times
    names = [*(name for name in FIRST if name in keys), *(name for name in keys if name not in FIRST)]
    return "\n".join(["[[jobs]]", *(f"{_key(name)} = {_value(keys[name])}" for name in names), ""])


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(str(key))} = {_value(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, date | datetime):
        return value.isoformat()
    if value is None:
        raise ValueError("TOML has no null")
    return repr(value)


def _text(text: str) -> str:
    # A basic string of TOML has the escapes of JSON, but for a few characters that JSON leaves as they are.
    return NOT_PLAIN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
