"""Bodies whose annotations ask for values that JSON does not have."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from gnomon import Context, Duration

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Window:
    start: date
    end: date | None = None
    colors: list[Color] = field(default_factory=list)


class Order(msgspec.Struct):
    id: UUID
    price: Decimal = Decimal(0)
    window: Window | None = None


class Point(NamedTuple):
    x: int
    at: date


class Row(TypedDict):
    day: date
    count: int


class Foreign:
    """A class that nothing can be converted to."""


Positive = Annotated[int, msgspec.Meta(gt=0)]


def every_kind(  # type: ignore[no-untyped-def]
    ctx: Context,
    *,
    moment: datetime,
    day: date,
    clock: time,
    span: timedelta,
    minutes: timedelta,
    duration: Duration,
    price: Decimal,
    key: UUID,
    path: Path,
    data: bytes,
    color: Color,
    level: Level,
    unique: set[int],
    frozen: frozenset[str],
    pair: tuple[int, date],
    many: tuple[date, ...],
    window: Window,
    order: Order,
    point: Point,
    row: Row,
    zone: ZoneInfo,
    maybe: date | None,
    nothing: date | None,
    count_or_day: int | date,
    text_or_day: date | str,
    day_or_moment: date | datetime,
    path_or_count: Path | int,
    mode: Literal["fast", "slow"],
    positive: Positive,
    noted: Annotated[date, "a note"],
    nested: dict[str, list[Window]],
    by_day: Mapping[date, Decimal],
    by_count: dict[int, str],
    plain: dict[str, Any],
    foreign: Foreign,
    unknown: Unknown,
    anything: Any,
    bare,  # noqa: ANN001
) -> str:
    """Return every argument as its class and its value."""
    given = {name: value for name, value in locals().items() if name != "ctx"}
    assert isinstance(ctx, Context)
    return repr(given)


async def async_every_kind(ctx: Context, **kwargs: Any) -> str:
    return every_kind(ctx, **kwargs)


async_every_kind.__wrapped__ = every_kind  # type: ignore[attr-defined]


def positions(day: date, ctx: Context, path: Path, /, *days: date, **prices: Decimal) -> str:
    return repr((day, path, days, prices))


def of_a_secret(token: Path, color: Color = Color.RED) -> str:
    return f"{type(token).__name__} {token.name[-3:]} {color.name}"


def plain(count: int, name: str = "x", ratio: float = 1.0, rows: list[dict[str, int]] = []) -> str:  # noqa: B006
    return repr((count, name, ratio, rows))
