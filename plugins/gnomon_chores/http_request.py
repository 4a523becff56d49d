"""`gnomon_chores:http`: send one request as a job."""

import time
from typing import Any
from urllib.parse import urlsplit

from gnomon import Context, default_overrides
from gnomon.jobs.argument_checks import checks_arguments
from gnomon_chores.arguments import check_number, checked_texts, checked_whole, kind
from gnomon_chores.errors import BadArgument


def check_arguments(
    *,
    url: object,
    method: object = "GET",
    headers: object = None,
    body: object = None,
    json: object = None,
    expected_status: object = 200,
    timeout: object = 30.0,
    output_limit: object = 65536,
) -> None:
    """Raise BadArgument for a request that cannot be sent."""
    check_target(method, url)
    check_payload(headers, body, json)
    check_number("http", "timeout", timeout, above=0)
    checked_whole("http", "output_limit", output_limit)
    checked_statuses(expected_status)


@checks_arguments(check_arguments)
@default_overrides("none")
async def http(  # noqa: PLR0913 - a request has many parts, all given by name
    ctx: Context,
    *,
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: str | None = None,
    json: Any = None,
    expected_status: int | list[int] = 200,
    timeout: float = 30.0,
    output_limit: int = 65536,
) -> dict[str, Any]:
    """Send one HTTP request and return the response.

    Returns `status`, `bytes` (length of the response's body), `body` (its first `output_limit` bytes as text) and
    `duration` (s).

    `body` is sent as it is, in UTF-8; `json` is sent as JSON with its content type. `timeout` (s) applies to the whole
    exchange. Redirects are followed, unless one of `expected_status` is itself a redirect. Header values and the user,
    password and query of the URL never appear in errors.

    Commands may not set its arguments, unless the job has the key `overrides`.

    Raises UnexpectedStatus (with the first bytes of the body), RequestTimedOut, RequestFailed and BadArgument.
    """
    check_arguments(
        url=url,
        method=method,
        headers=headers,
        body=body,
        json=json,
        expected_status=expected_status,
        timeout=timeout,
        output_limit=output_limit,
    )
    expected = checked_statuses(expected_status)
    ctx.checkpoint()
    # Not at the top: aiohttp takes 0.2 s to import, which a child process that runs another chore would pay too.
    from gnomon_chores.http_exchange import Exchange  # noqa: PLC0415

    started = time.monotonic()
    exchange = Exchange(method.upper(), url, headers or {}, body, json, expected, output_limit)
    response = await exchange.run(ctx, timeout)
    return {**response, "duration": round(time.monotonic() - started, 6)}


def check_target(method: object, url: object) -> None:
    """Raise BadArgument for a method or a URL that no request can have."""
    if not isinstance(method, str) or not method.isascii() or not method.isalpha():
        raise BadArgument("http", "method", repr(method), 'a word such as "GET" or "POST"')
    if not isinstance(url, str):
        raise BadArgument("http", "url", kind(url), "a string")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:  # without the value: it may hold a password
        raise BadArgument(
            "http", "url", "not a valid URL", "http:// or https://, a host, and optionally a port and a path"
        )


def check_payload(headers: object, body: object, json: object) -> None:
    """Raise BadArgument for headers that are not strings, and for two bodies."""
    if headers is not None:
        checked_texts("http", "headers", headers)
    if body is not None and not isinstance(body, str):
        raise BadArgument("http", "body", kind(body), "a string; give tables and lists as `json`")
    if body is not None and json is not None:
        raise BadArgument("http", "body", "given together with `json`", "only one of them")


def checked_statuses(expected: object) -> list[int]:
    """Return the accepted statuses as a list; raise BadArgument for anything else."""
    given = expected if isinstance(expected, list | tuple) else [expected]
    if not given:
        raise BadArgument("http", "expected_status", "empty", "at least one status")
    statuses = [checked_whole("http", "expected_status", status, least=100) for status in given]
    if any(status > 599 for status in statuses):
        raise BadArgument("http", "expected_status", str(max(statuses)), "statuses from 100 to 599")
    return statuses
