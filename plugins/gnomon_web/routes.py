"""The one table of everything that is served. A route says who may call it; without that there is no route."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from aiohttp import web

from gnomon_web.roles import RANK, Access

T = TypeVar("T")
Handler = Callable[..., Awaitable[Any]]
Kind = Literal["rest", "websocket", "asset"]
SOURCES = ("query", "headers", "body")

_PATH = re.compile(r"(/([A-Za-z0-9._~-]+|\{\w+(:[^{}]+)?\}))+|/")
_NAME_IN_PATH = re.compile(r"\{(\w+)")


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """What a handler returns that has more to say than the body: headers, or another status than the route's."""

    body: T
    headers: dict[str, str] = {}
    status: int | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A call: `await handler(request, ...)`.

    The handler's signature tells the rest, to the server and to the OpenAPI document alike. It asks by name for parts
    of the path (`job_id: str`), and for `query`, `headers` and `body`, each annotated with a msgspec Struct that checks
    them. What it returns, as annotated, is written as JSON with `status`; a `web.StreamResponse` is sent as it is. The
    first line of its docstring is the summary.

    `role` says who may call it. `errors` are the statuses of its problems, besides those that every call may have, and
    `also` those that come with the same body as `status`.
    `plugin` is who has contributed it. A contributed route takes the place of a `replaceable` one.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Handler
    role: Access
    status: int = 200
    kind: Kind = "rest"
    tag: str = "gnomon"
    errors: tuple[int, ...] = ()
    also: tuple[int, ...] = ()
    media_type: str = "application/json"
    plugin: str | None = None
    replaceable: bool = False

    @property
    def names_in_path(self) -> list[str]:
        """The names of the variable parts of its path."""
        return _NAME_IN_PATH.findall(self.path)

    @property
    def place(self) -> tuple[str, str]:
        """What can be there once only."""
        return self.method, re.sub(r"\{[^{}]*\}", "{}", self.path)


class Signature(msgspec.Struct, frozen=True):
    """What a handler asks for and returns. `answer` is None where it makes the response itself.

    Without `needs_body` a request may come without one, and the handler is given None.
    """

    path: tuple[str, ...]
    query: type[msgspec.Struct] | None = None
    headers: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    answer: Any = None
    needs_body: bool = False


def read_signature(route: Route) -> Signature:
    """Read what a route's handler asks for; TypeError where it cannot be called."""
    name = f"the handler of {route.method} {route.path}"
    if not inspect.iscoroutinefunction(route.handler):
        raise TypeError(f"{name} is {route.handler!r}, expected an `async def`")
    hints = get_type_hints(route.handler, include_extras=True)
    _, *wanted = inspect.signature(route.handler).parameters
    possible = [*route.names_in_path, *SOURCES]
    if strangers := set(wanted) - set(possible):
        raise TypeError(f"{name} asks for {', '.join(sorted(strangers))}; possible are {', '.join(possible)}")
    structs = {source: _struct(hints.get(source)) for source in SOURCES if source in wanted}
    for source, struct in structs.items():
        if struct is None:
            raise TypeError(f"{name} must annotate `{source}` with a msgspec.Struct, got {hints.get(source)!r}")
    return Signature(
        path=tuple(part for part in wanted if part not in SOURCES),
        **structs,
        answer=_answer(hints.get("return", Any)),
        needs_body="body" in structs and structs["body"] is hints["body"],
    )


def _answer(annotation: Any) -> Any:
    if get_origin(annotation) is Answer:
        return get_args(annotation)[0]
    is_response = isinstance(annotation, type) and issubclass(annotation, web.StreamResponse)
    return None if is_response else annotation


def _struct(annotation: Any) -> type[msgspec.Struct] | None:
    """Find the Struct in an annotation: itself, or in `Struct | None`."""
    members = [member for member in (annotation, *get_args(annotation)) if isinstance(member, type)]
    return next((member for member in members if issubclass(member, msgspec.Struct)), None)


class RouteTable:
    """All routes of a server, each with its signature."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], tuple[Route, Signature]] = {}

    def __iter__(self) -> Iterator[tuple[Route, Signature]]:
        return iter(self._routes.values())

    def handler(self, method: str, path: str) -> Handler:
        """Return what answers there: our own handler, or the one that takes its place."""
        return self._routes[method, path][0].handler

    def add(self, route: Route) -> Signature:
        """Add a route and return what its handler asks for; ValueError or TypeError says what is wrong with it."""
        if route.role not in RANK:
            raise ValueError(f"{route.method} {route.path} needs a role, one of {', '.join(RANK)}; got {route.role!r}")
        if not _PATH.fullmatch(route.path):
            raise ValueError(f"path {route.path!r} cannot be served: expected one like /reports/{{name}}")
        there = self._routes.get(route.place)
        if there is not None and not there[0].replaceable:
            owner = f"by the plugin {there[0].plugin!r}" if there[0].plugin else "by gnomon_web"
            raise ValueError(f"{route.method} {route.path} is served already, {owner}")
        signature = read_signature(route)
        self._routes[route.place] = (route, signature)
        return signature
