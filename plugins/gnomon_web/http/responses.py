"""Answers as JSON, and problems as RFC 9457 problem+json; both in an envelope where the config asks for one.

Clients that ask for the clean API get no envelope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from gnomon.durations import encode_hook
from gnomon.json_depth import cut_value
from gnomon.text import visible_json
from gnomon.wire.problems import PAGE, Problem
from gnomon.wire.records import CLEAN_JSON, Envelope
from gnomon_web.app_keys import CONFIG
from gnomon_web.config import Config

JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
COMPRESSED_AT_ONCE_BYTES: Final = 32 * 1024
"""Bytes up to which the event loop compresses an answer itself, in about 1 ms; beyond that a thread does."""
_UNSAFE: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8b\x8e\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"
)
"""The UTF-8 of the characters that `visible_json` escapes."""
_encode = msgspec.json.Encoder(enc_hook=encode_hook).encode


def encode_json(value: Any) -> bytes:
    """Write JSON. Lone surrogates, which texts of plugins and jobs may contain, become question marks.

    Parts that are nested too deeply to be written are cut.
    """
    try:
        text = _encode(value)
    except UnicodeEncodeError:
        text = _encode(_writable(msgspec.to_builtins(value, enc_hook=encode_hook)))
    except RecursionError:
        text = _encode(_shallow(value))
    # A terminal that prints an answer must not be controlled by the text of a job, or of another client.
    return visible_json(text.decode()).encode() if _UNSAFE.search(text) else text


def _shallow(value: Any) -> Any:
    """Cut what is nested too deeply, in the fields of Structs and in lists of Structs."""
    if isinstance(value, msgspec.Struct):
        fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return msgspec.structs.replace(value, **{name: _shallow(entry) for name, entry in fields})
    if isinstance(value, list | tuple) and any(isinstance(entry, msgspec.Struct) for entry in value):
        return [_shallow(entry) for entry in value]
    return cut_value(value)


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_writable(key): _writable(entry) for key, entry in value.items()}
    return [_writable(entry) for entry in value] if isinstance(value, list | tuple) else value


def wants_clean(request: web.Request) -> bool:
    """Return whether a client asks for the clean API, whatever the server speaks to others."""
    return CLEAN_JSON in request.headers.get(hdrs.ACCEPT, "")


def json_answer(
    request: web.Request,
    body: Any,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    message: str = "ok",
) -> web.Response:
    """Return the response with a resource; `message` is for its envelope, where there is one."""
    if request.app[CONFIG].is_enveloped and not wants_clean(request):
        body = Envelope(success=True, data=body, message=message, timestamp=datetime.now(UTC))
    text = encode_json(body)
    return web.Response(
        body=text, status=status, headers=headers, content_type=JSON, zlib_executor_size=COMPRESSED_AT_ONCE_BYTES
    )


def problem_answer(
    config: Config, problem: Problem, headers: Mapping[str, str] | None = None, *, is_clean: bool = False
) -> web.Response:
    """Return the response with a problem; without an envelope if `is_clean`."""
    problem = below_base_path(config, problem)
    body: Any = problem
    content_type = PROBLEM_JSON
    if config.is_enveloped and not is_clean:
        content_type = JSON
        body = Envelope(
            success=False,
            data=problem,
            message=problem.detail,
            timestamp=datetime.now(UTC),
            code=problem.status,
        )
    return web.Response(body=encode_json(body), status=problem.status, headers=headers, content_type=content_type)


def below_base_path(config: Config, problem: Problem) -> Problem:
    """Return the problem with the address of its documentation page on this server as `type`."""
    if config.base_path and problem.type.startswith(PAGE):
        return msgspec.structs.replace(problem, type=config.base_path + problem.type)
    return problem
