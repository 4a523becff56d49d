"""The error that handlers raise to answer a request with an RFC 9457 problem."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from gnomon.wire.problems import Culprit, Place, Problem, ProblemKind


class ApiError(Exception):
    """A request that is answered with a problem of this kind."""

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        errors: list[Culprit] | None = None,
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        """`facts` are the other fields of the Problem that its kind has."""
        super().__init__(detail)
        self.kind = kind
        self.problem = Problem(
            type=kind.type,
            title=kind.title,
            status=kind.status,
            detail=detail,
            errors=errors if errors is not None else [],
            **facts,
        )
        self.headers = dict(headers or {})


def culprit(place: Place, name: str, detail: str) -> Culprit:
    """Name a part of a request and say what is wrong with it."""
    return Culprit(place=place, name=name, detail=detail)


def kind_of_status(status: int) -> ProblemKind:
    """Return the kind of a problem that only an HTTP status describes; its `type` is `about:blank`."""
    return ProblemKind("", status, HTTPStatus(status).phrase)
