"""What is sent back: JSON, and problems, as they are or in the envelope that some clients expect."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from gnomon.durations import encode_hook
from gnomon_web.config import Config
from gnomon_web.keys import CONFIG
from gnomon_web.problems import Problem

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
_encoder = msgspec.json.Encoder(enc_hook=encode_hook)


class Envelope(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What every answer is put into with `envelope = true`; `data` is the answer, or the problem."""

    success: bool
    data: Any = msgspec.field(default_factory=lambda: None)
    message: str
    timestamp: datetime
    code: int | None = None


def json_answer(
    request: web.Request, body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Write a resource."""
    if request.app[CONFIG].envelope:
        body = Envelope(success=True, data=body, message="ok", timestamp=datetime.now(UTC))
    return web.Response(body=_encoder.encode(body), status=status, headers=headers, content_type=JSON)


def problem_answer(config: Config, problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    """Write a problem."""
    body: Any = problem
    content_type = PROBLEM_JSON
    if config.envelope:
        content_type = JSON
        body = Envelope(
            success=False,
            data=problem,
            message=problem.detail,
            timestamp=datetime.now(UTC),
            code=problem.status,
        )
    return web.Response(body=_encoder.encode(body), status=problem.status, headers=headers, content_type=content_type)
