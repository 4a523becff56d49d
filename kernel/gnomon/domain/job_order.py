"""An order about a job, as frontends send it: with the keys of the job as text, numbers and tables."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class JobOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with a job: `add` it, `replace` it, `change` only these keys (null removes one), or `remove` it.

    `keys` are those of a table [[jobs]] in the config. `expect_version` is the version of the job that the sender has
    seen, 0 if it must not exist. `owner` is that of a new job.
    """

    how: Literal["add", "replace", "change", "remove"]
    job_id: str
    keys: dict[str, Any] = {}
    expect_version: int | None = None
    owner: str | None = None
