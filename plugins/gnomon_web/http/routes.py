"""The table of everything that is served. Every route names the role that it requires."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator
from types import UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from aiohttp import web

from gnomon_web.auth.roles import RANK, Access

T = TypeVar("T")
Handler = Callable[..., Awaitable[Any]]
Kind = Literal["rest", "websocket", "asset"]
SOURCES = ("query", "headers", "body")
CALLER = "caller"
"""The parameter of a handler that gets a `gnomon.wire.caller.Caller`."""

_PATH = re.compile(r"(/([A-Za-z0-9._~-]+|\{\w+(:[^{}]+)?\}))+|/")
_NAME_IN_PATH = re.compile(r"\{(\w+)")


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """An answer with headers, or with a status other than the route's."""

    body: T
    headers: dict[str, str] = {}
    status: int | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A call: `await handler(request, ...)`.

    The handler's signature defines its parameters, for the server and for the OpenAPI document. It asks by name for
    parts of the path (`job_id: str`) and for `query`, `headers` and `body`, each annotated with a msgspec Struct that
    validates it; a body that the handler validates itself is a `dict[str, Any]` or a list of them. `caller` is the
    `gnomon.wire.caller.Caller`: its name, and the kernel as far as it may see it. The return value,
    as annotated, is written as JSON with `status`; a `web.StreamResponse` is sent as it is. The first line of the
    docstring is the summary.

    `role` is the role that a caller needs. `errors` are the statuses of its problems besides those of every call, and
    `also` the statuses that have the same body as `status`. `plugin` is the plugin that contributed it. A contributed
    route replaces a `replaceable` one.

    `scoped` marks a handler that looks only at the jobs of a token that is limited to some: one that gets the kernel
    from `kernel_of(request)` or its `caller`, or that does not look at jobs. Without it such tokens may use the route
    only if its path names a job or an execution, which is checked.

    With `has_past` the call has a parameter `at`: `kernel_of(request)`, or the kernel of the `caller`, is that of then.
    `on_wall` marks what a wall shows: a wall link may use these routes and public ones only.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
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
    is_of_leader: bool = False
    replaceable: bool = False
    scoped: bool = False
    has_past: bool = False
    on_wall: bool = False

    @property
    def names_in_path(self) -> list[str]:
        """The names of the variable parts of its path."""
        return _NAME_IN_PATH.findall(self.path)

    @property
    def has_share(self) -> bool:
        """Whether the answers of each caller are limited in number."""
        return self.kind == "rest" and self.method == "GET" and self.role != "public"

    @property
    def place(self) -> tuple[str, str]:
        """The method and path, which no other route may share."""
        return self.method, re.sub(r"\{[^{}]*\}", "{}", self.path)


class Signature(msgspec.Struct, frozen=True):
    """The parameters and the return type of a handler. `answer` is None where it makes the response itself.

    Without `needs_body` a request may omit the body, and the handler gets None.
    """

    path: tuple[str, ...]
    query: type[msgspec.Struct] | None = None
    headers: type[msgspec.Struct] | None = None
    body: Any = None
    answer: Any = None
    needs_body: bool = False
    needs_caller: bool = False


def read_signature(route: Route) -> Signature:
    """Read the signature of a route's handler; TypeError if it cannot be called."""
    name = f"the handler of {route.method} {route.path}"
    if not inspect.iscoroutinefunction(route.handler):
        raise TypeError(f"{name} is {route.handler!r}, expected an `async def`")
    hints = get_type_hints(route.handler, include_extras=True)
    _, *wanted = inspect.signature(route.handler).parameters
    possible = [*route.names_in_path, *SOURCES, CALLER]
    if unknown := set(wanted) - set(possible):
        raise TypeError(
            f"{name} has unknown parameters: {', '.join(sorted(unknown))}; expected some of {', '.join(possible)}"
        )
    structs: dict[str, Any] = {source: _struct(hints.get(source)) for source in SOURCES if source in wanted}
    if "body" in wanted and _is_json(hints.get("body")):
        structs["body"] = hints["body"]
    for source, struct in structs.items():
        if struct is None:
            raise TypeError(f"{name} must annotate `{source}` with a msgspec.Struct, got {hints.get(source)!r}")
    return Signature(
        path=tuple(part for part in wanted if part not in {*SOURCES, CALLER}),
        **structs,
        answer=_answer(hints.get("return", Any)),
        needs_body="body" in structs and structs["body"] is hints["body"],
        needs_caller=CALLER in wanted,
    )


def _is_json(annotation: Any) -> bool:
    """Return whether a body is a JSON object, or a list, that the handler validates itself."""
    plain = _plain(annotation)
    members = get_args(plain) if get_origin(plain) in {Union, UnionType} else (plain,)
    return {get_origin(_plain(member)) for member in members} <= {dict, list}


def _plain(annotation: Any) -> Any:
    """Return an annotation without its metadata."""
    return annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation


def _answer(annotation: Any) -> Any:
    if get_origin(annotation) is Answer:
        return get_args(annotation)[0]
    is_response = isinstance(annotation, type) and issubclass(annotation, web.StreamResponse)
    return None if is_response else annotation


def _struct(annotation: Any) -> type[msgspec.Struct] | None:
    """Return the Struct in an annotation: the annotation itself, or in `Struct | None`."""
    members = [member for member in (annotation, *get_args(annotation)) if isinstance(member, type)]
    return next((member for member in members if issubclass(member, msgspec.Struct)), None)


class RouteTable:
    """All routes of a server, each with its signature."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], tuple[Route, Signature]] = {}
        self._replaced: dict[tuple[str, str], tuple[Route, Signature]] = {}

    def __iter__(self) -> Iterator[tuple[Route, Signature]]:
        return iter(self._routes.values())

    def route(self, method: str, path: str) -> Route:
        """Return the route there: our own, or the contributed one that replaces it."""
        return self._routes[method, path][0]

    def replaced_by(self, route: Route) -> tuple[Route, Signature] | None:
        """Return our own route which that contributed one replaces, if any."""
        return self._replaced.get(route.place)

    def add(self, route: Route) -> Signature:
        """Add a route and return its signature; ValueError or TypeError if it cannot be served."""
        if route.role not in RANK:
            raise ValueError(
                f"{route.method} {route.path} needs a role: expected one of {', '.join(RANK)}, got {route.role!r}"
            )
        if not _PATH.fullmatch(route.path):
            raise ValueError(f"path {route.path!r} is not valid: expected one like /reports/{{name}}")
        existing = self._routes.get(route.place)
        if existing is not None and not existing[0].replaceable:
            owner = f"the plugin {existing[0].plugin!r}" if existing[0].plugin else "gnomon_web"
            raise ValueError(f"{route.method} {route.path} is already served by {owner}")
        if existing is not None:
            self._replaced[route.place] = existing
        signature = read_signature(route)
        self._routes[route.place] = (route, signature)
        return signature
