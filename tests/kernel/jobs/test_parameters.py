"""The parameters of a job's function as JSON Schema."""

from datetime import date, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

import annotated_bodies
from gnomon import Context, Job, Kernel, Secret, SecretReference, UnknownJobError
from gnomon.jobs.parameters import parameters_schema
from gnomon.jobs.registered import register_job


class Market(Enum):
    CHINA = "cn"
    LONDON = "uk"


class Limit(msgspec.Struct):
    symbol: str
    price: float = 1.0


def sync(  # noqa: PLR0917 - one of each
    ctx: Context,
    day: date,
    target: Path,
    max_rows: int = 100,
    market: Market = Market.LONDON,
    mode: Literal["fast", "slow"] = "fast",
    limits: list[Limit] | None = None,
    keep: timedelta = timedelta(minutes=5),
    since: date | str = "today",
    anything: Any = None,
    *,
    token: str = "",
    force: bool = False,
) -> None:
    """Fetch prices.

    Args:
        day: The day to fetch.
        max_rows (int): How many rows at most.
        unknown: Not a parameter.
    """


def documented(count: int, name: str = "x") -> None:
    """Do something.

    :param count: How many.
    :param str name: Of whom.
    """


def schema(func: Any = sync, **keys: Any) -> dict[str, Any]:
    registered = register_job(Job(id="job", func=func, **keys), "UTC")
    return parameters_schema(registered.job, registered.body)


def test_the_schema_has_types_titles_descriptions_and_defaults() -> None:
    found = schema(kwargs={"target": Path("/srv"), "token": SecretReference(env="APP_TOKEN")})

    assert found == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "job",
        "type": "object",
        "additionalProperties": False,
        "required": ["day"],
        "properties": {
            "day": {"type": "string", "format": "date", "title": "Day", "description": "The day to fetch."},
            "target": {"type": "string", "format": "path", "title": "Target", "default": "/srv"},
            "max_rows": {
                "type": "integer",
                "title": "Max rows",
                "default": 100,
                "description": "How many rows at most.",
            },
            "market": {"$ref": "#/$defs/Market", "title": "Market", "default": "uk"},
            "mode": {"enum": ["fast", "slow"], "title": "Mode", "default": "fast"},
            "limits": {
                "anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Limit"}}, {"type": "null"}],
                "title": "Limits",
                "default": None,
            },
            "keep": {
                "type": "string",
                "format": "duration",
                "examples": ["5m"],
                "title": "Keep",
                "default": "5m",
            },
            "since": {
                "anyOf": [{"type": "string", "format": "date"}, {"type": "string"}],
                "title": "Since",
                "default": "today",
            },
            "anything": {"title": "Anything", "default": None},
            "token": {"type": "string", "title": "Token", "x-secret": "the environment variable APP_TOKEN"},
        },
        "$defs": {
            "Market": {"title": "Market", "enum": ["cn", "uk"]},
            "Limit": {
                "title": "Limit",
                "type": "object",
                "properties": {"symbol": {"type": "string"}, "price": {"type": "number", "default": 1.0}},
                "required": ["symbol"],
            },
        },
    }


def test_the_docstring_may_be_in_the_style_of_sphinx() -> None:
    properties = schema(documented)["properties"]

    assert [one["description"] for one in properties.values()] == ["How many.", "Of whom."]


def test_the_defaults_of_the_schema_are_accepted_by_the_job() -> None:
    properties = schema(kwargs={"day": "2026-01-01", "target": "/"})["properties"]
    defaults = {name: one["default"] for name, one in properties.items()}

    register_job(Job(id="job", func=sync, kwargs=defaults), "UTC")


@pytest.mark.parametrize(
    ("overrides", "settable"),
    [("none", set()), (["day"], {"day"}), ("all", {"day", "target"})],
)
def test_what_no_command_may_set_is_read_only(overrides: Any, settable: set[str]) -> None:
    def body(day: str, target: str) -> None: ...

    found = schema(body, kwargs={"day": "x", "target": "y"}, overrides=overrides)

    assert {name for name, one in found["properties"].items() if not one.get("readOnly")} == settable


def test_an_argument_that_the_job_gives_by_position_is_read_only() -> None:
    properties = schema(args=["2026-01-01"], kwargs={"target": "/"})["properties"]

    assert properties["day"]["readOnly"]
    assert properties["day"]["default"] == "2026-01-01"
    assert "readOnly" not in properties["target"]


@pytest.mark.parametrize("default", [Secret("s3cret-Value/42"), "ghp_0123456789abcdefghijABCDEFGHIJ"])
def test_a_secret_in_the_code_is_not_shown(default: Any) -> None:
    def body(key: Any = default) -> None: ...

    assert schema(body)["properties"]["key"] == {"title": "Key"}


def test_other_names_are_possible_where_the_function_accepts_them() -> None:
    def body(**names: int) -> None: ...

    assert schema(body)["additionalProperties"] is True
    assert schema(print, kwargs={"sep": ","})["additionalProperties"] is False
    assert schema(print, kwargs={"sep": ","})["properties"]["sep"] == {"title": "Sep", "default": ","}


def test_every_kind_of_annotation_has_a_schema() -> None:
    found = schema(annotated_bodies.every_kind)

    assert [name for name, one in found["properties"].items() if one.keys() == {"title"}] == [
        "foreign",
        "unknown",
        "anything",
        "bare",
    ]
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


async def test_a_kernel_answers_with_the_schema_of_a_job() -> None:
    async with Kernel(jobs=[Job(id="job", func=documented, kwargs={"count": 1})]) as kernel:
        found = await kernel.parameters("job")
        found["properties"]["count"]["default"] = 2
        again = await kernel.parameters("job")
        with pytest.raises(UnknownJobError):
            await kernel.parameters("jab")

    assert again["properties"]["count"]["default"] == 1
