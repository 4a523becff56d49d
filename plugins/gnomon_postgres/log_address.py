"""The address of a log: a connection string of libpq, and what is wrong with it.

Problems never quote a part of a connection string: it may be one of the password, also where none was expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

_EXPECTED = (
    "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, where special characters are percent-encoded, or "
    "host=HOST dbname=DATABASE user=USER"
)
_EMPTY = f"it is empty, as that of a variable without a value, and libpq would choose a server by itself; {_EXPECTED}"
_HOST = f'an "@" or "/" of the password has to be percent-encoded, as %40 or %2F; {_EXPECTED}'
# What libpq says quotes the string, or a part of it.
_REASONS = (
    (re.compile('missing "="'), 'a word has no "=": a value with spaces stands in single quotes'),
    (re.compile("unterminated quoted string"), "a value begins with a single quote, and does not end with one"),
    (re.compile("percent-encod"), 'a "%" does not begin two hexadecimal digits: a "%" itself is written as %25'),
    (re.compile("IPv6|unexpected character"), "an IPv6 address is not as in postgresql://[::1]:5432/DATABASE"),
    (re.compile('separator "="'), 'the options behind the "?" are not as in ?sslmode=require&connect_timeout=5'),
)
_UNKNOWN_OPTION = re.compile(r'invalid (?:connection option|URI query parameter):? ("\w+")')
_URI = re.compile(r"postgres(?:ql)?://")
_OTHER_URI = re.compile(r"\s*(?!postgres(?:ql)?://)[A-Za-z][\w+.-]*://")
_SCHEME = (
    'it begins neither with "postgresql://" nor with "postgres://": an address of SQLAlchemy, such as '
    f"postgresql+asyncpg://, is written without its driver; {_EXPECTED}"
)


def parse(dsn: str) -> dict[str, Any]:
    """Return the options of a connection string; ValueError, which quotes nothing of it, for one that is not valid."""
    if not dsn.strip():
        raise ValueError(_EMPTY)
    if "\0" in dsn:
        raise ValueError(f"it has a NUL character; {_EXPECTED}")
    if _OTHER_URI.match(dsn):
        raise ValueError(_SCHEME)
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as exc:
        raise ValueError(_reason(str(exc))) from None
    except UnicodeError:
        raise ValueError(f"it has half a character (a lone surrogate), which is not text; {_EXPECTED}") from None
    places = (given.get("host"), given.get("port"), given.get("dbname"))
    if _URI.match(dsn) and any("@" in str(place) for place in places):  # libpq ends the password at the first of them
        raise ValueError(_HOST)
    return given


def place(given: Mapping[str, Any]) -> str:
    """Return the servers and the database for display: without user, password and options.

    What the options do not say comes from the environment, as for libpq.
    """
    known = {option.keyword.decode(): option.val.decode() for option in Conninfo.get_defaults() if option.val}
    known.update(given)
    hosts = str(known.get("host") or known.get("hostaddr") or "localhost").split(",")
    ports = str(known.get("port") or 5432).split(",")
    places = [f"{host}:{ports[number if len(ports) > 1 else 0] or 5432}" for number, host in enumerate(hosts)]
    return f"{','.join(places)}/{known.get('dbname') or known.get('user') or ''}"


def defaults(given: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Return options beside those of a connection string, and the encoding of all texts; `timeout` is in seconds."""
    options: dict[str, Any] = {
        "fallback_application_name": "gnomon",
        "connect_timeout": max(round(timeout), 2),  # libpq takes a smaller one for 2
    }
    if "," in str(given.get("host", "")):  # one of them can be written, the others are standbys
        options["target_session_attrs"] = "read-write"
    return {name: value for name, value in options.items() if name not in given} | {"client_encoding": "utf8"}


def _reason(said: str) -> str:
    if (option := _UNKNOWN_OPTION.match(said)) is not None:
        return f"it has the unknown option {option[1]}; {_EXPECTED}"
    reason = next((reason for pattern, reason in _REASONS if pattern.search(said)), None)
    return f"{reason}; {_EXPECTED}" if reason is not None else _EXPECTED
