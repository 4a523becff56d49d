"""Everything that goes wrong is told as RFC 9457 problem+json, with the culprit where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

import msgspec

Place = Literal["method", "path", "query", "header", "body"]


class Culprit(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong in a request: where it stands, its name, and what is wrong with it."""

    place: Place = msgspec.field(name="in")
    name: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem as RFC 9457 describes it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Culprit] = []


class ApiError(Exception):
    """A request that is answered with a problem; raised by handlers, also by those of other plugins."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: list[Culprit] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(
            title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors if errors is not None else []
        )
        self.headers = dict(headers or {})


def culprit(place: Place, name: str, detail: str) -> Culprit:
    """Name a part of a request and what is wrong with it."""
    return Culprit(place=place, name=name, detail=detail)
