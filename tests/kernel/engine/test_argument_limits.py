"""Arguments and results from outside are bounded in size and depth before anything is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnomon import Job, JobError, Kernel
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import load_config
from gnomon.errors import ConfigError
from gnomon.jobs.registered import ARGUMENTS_LIMIT
from gnomon.json_depth import CUT, MAX_DEPTH


def nested(levels: int) -> Any:
    value: Any = "inside"
    for _ in range(levels):
        value = [value]
    return value


async def keep(value: Any = None) -> Any:
    return value


LARGE = "x" * ARGUMENTS_LIMIT


async def test_a_trigger_with_too_large_arguments_is_refused_before_anything_is_recorded(
    gnomon_kernel: Callable[..., Kernel],
) -> None:
    async with gnomon_kernel(Job(id="keep", func=keep)) as kernel:
        before = kernel.health().position
        with pytest.raises(JobError, match="keep large data elsewhere") as refused:
            await kernel.trigger("keep", kwargs={"value": LARGE})
        fits = await kernel.trigger("keep", kwargs={"value": LARGE[:-200]})

        assert len(str(refused.value)) < 1000
        assert kernel.health().position > before
        assert (await kernel.wait(fits.execution.id)).kwargs == {"value": LARGE[:-200]}
        assert [event.version for event in await kernel.events(before, 1)] == [1]


async def test_what_a_job_and_a_trigger_bring_counts_together(gnomon_kernel: Callable[..., Kernel]) -> None:
    async def two(a: str, b: str) -> None: ...

    async with gnomon_kernel(Job(id="two", func=two, kwargs={"a": LARGE[:-2000], "b": ""})) as kernel:
        with pytest.raises(JobError, match=r"its arguments have 26\d,\d{3} bytes as JSON, and 262,144 are allowed"):
            await kernel.trigger("two", kwargs={"b": "y" * 3000})


@pytest.mark.parametrize("arguments", [{"kwargs": {"value": LARGE}}, {"args": [LARGE]}])
async def test_a_job_with_too_large_arguments_is_refused(
    arguments: dict[str, Any], gnomon_kernel: Callable[..., Kernel]
) -> None:
    with pytest.raises(JobError, match="arguments_limit"):
        gnomon_kernel(Job(id="keep", func=keep, **arguments))
    async with gnomon_kernel() as kernel:
        with pytest.raises(JobError, match="arguments_limit"):
            await kernel.add_job(Job(id="keep", func=keep, **arguments))


@pytest.mark.parametrize("levels", [MAX_DEPTH, 500, 970, 100_000])
async def test_arguments_that_nest_too_deeply_are_refused(levels: int, gnomon_kernel: Callable[..., Kernel]) -> None:
    async with gnomon_kernel(Job(id="keep", func=keep)) as kernel:
        await kernel.trigger("keep", kwargs={"value": nested(MAX_DEPTH - 1)})  # the arguments are one level themselves
        with pytest.raises(JobError, match=f"nested deeper than {MAX_DEPTH} levels"):
            await kernel.trigger("keep", kwargs={"value": nested(levels)})
        with pytest.raises(JobError, match=f"nested deeper than {MAX_DEPTH} levels"):
            await kernel.add_job(Job(id="deep", func=keep, kwargs={"value": nested(levels)}))


async def test_a_definition_that_nests_too_deeply_is_refused(gnomon_kernel: Callable[..., Kernel]) -> None:
    with pytest.raises(JobError, match="definition is nested deeper"):
        gnomon_kernel(Job(id="keep", func=keep, options={"of": nested(MAX_DEPTH)}))
    with pytest.raises(JobError, match="definition is nested deeper"):
        gnomon_kernel(Job(id="keep", func=keep, options={"of": nested(5000)}))


class Chain(msgspec.Struct):
    inner: Any


def chain(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = Chain(value)
    return value


@pytest.mark.parametrize("make", [nested, chain])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 970, 100_000])
async def test_a_result_that_nests_too_deeply_is_kept_as_a_marked_text(
    make: Callable[[int], Any], levels: int, gnomon_kernel: Callable[..., Kernel]
) -> None:
    async def deep() -> Any:
        return make(levels)

    async with gnomon_kernel(Job(id="deep", func=deep)) as kernel:
        run = await kernel.wait((await kernel.trigger("deep")).execution.id)

    assert run.status == "success"
    assert isinstance(run.return_value, str)
    assert run.return_value.startswith(CUT)


async def test_the_limit_of_arguments_is_a_key_of_the_config(tmp_path: Path) -> None:
    file = tmp_path / "gnomon.toml"
    jobs = f'[[jobs]]\nid = "big"\nfunc = "builtins:print"\nargs = ["{"x" * 2000}"]\n[plugins.memory]\n'
    file.write_text(f"[kernel]\narguments_limit = 1000\n{jobs}")
    with pytest.raises(ConfigError, match=r"big.*its arguments have 2,009 bytes as JSON, and 1,000 are allowed"):
        assemble(load_config(file, {}))

    file.write_text(f"[kernel]\narguments_limit = 3000\n{jobs}")
    assert assemble(load_config(file, {})).config.kernel.arguments_limit == 3000

    file.write_text("[kernel]\narguments_limit = 0\n")
    with pytest.raises(ConfigError, match="arguments_limit must be from 1"):
        load_config(file, {})


@pytest.mark.parametrize("levels", [MAX_DEPTH, 400, 5000])
def test_a_config_that_nests_too_deeply_is_refused(levels: int, tmp_path: Path) -> None:
    file = tmp_path / "gnomon.toml"
    file.write_text(f"[plugins.memory]\nx = {json.dumps(nested(min(levels, 900)))}\n")
    if levels > 900:
        file.write_text(f"[plugins.memory]\nx = {'[' * levels}{']' * levels}\n")

    with pytest.raises(ConfigError, match=f"nested deeper than {MAX_DEPTH} levels"):
        load_config(file, {})
