"""Looks into running bodies for operators: asks the runner, and adds what the kernel knows."""

from __future__ import annotations

import asyncio
from functools import partial

from msgspec.structs import replace

from gnomon.domain.body_sample import BodySample
from gnomon.engine.active_run import ActiveRun
from gnomon.ports import Clock
from gnomon.runners.stack_frames import with_sources
from gnomon.safe_text import safe_str, type_name
from gnomon.tasks import protected
from gnomon.threads import in_thread

NOT_BEGUN = "its body has not begun"
ANSWER_LIMIT_S = 8.0
"""Seconds in which a runner must answer: a request to a kernel that leads waits for ten."""


class BodySamples:
    """The current looks, one for each run: several callers share its answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taking: dict[str, asyncio.Task[BodySample]] = {}

    async def take(self, active: ActiveRun) -> BodySample:
        """Return where a body is in its code, and what its process uses."""
        run = active.execution.id
        if active.task is None or not active.has_begun:
            return BodySample(problem=NOT_BEGUN, runner=active.runner.name, at=self._clock.now())
        if (taking := self._taking.get(run)) is None:
            taking = self._taking[run] = protected(self._take(active), f"sample of {run}")
            taking.add_done_callback(lambda _: self._taking.pop(run, None))
        return await asyncio.shield(taking)

    async def _take(self, active: ActiveRun) -> BodySample:
        sample = await _asked(active)
        if not active.runner.is_remote and sample.stacks:  # the files are those of this machine
            mask = active.context.mask
            sources = partial(with_sources, sample.stacks, str if mask is None else mask.hide)
            sample = replace(sample, stacks=await in_thread(sources, "gnomon sample"))
        return replace(sample, runner=active.runner.name, at=self._clock.now())


async def _asked(active: ActiveRun) -> BodySample:
    """Return what the runner finds; one that fails or hangs is a problem of the sample."""
    name = active.runner.name
    try:
        # In real time: the body is real on any clock.
        async with asyncio.timeout(ANSWER_LIMIT_S):
            found = await active.runner.sample(active.execution.id)
    except TimeoutError:
        return BodySample(problem=f"the runner {name!r} did not answer within {ANSWER_LIMIT_S:g} s")
    except Exception as exc:  # noqa: BLE001 - the runner may be a plugin's
        return BodySample(problem=f"the runner {name!r} could not look: {type_name(exc)}: {safe_str(exc)}")
    if found is not None:
        return found
    if active.body_has_ended:
        return BodySample(problem="the body has just ended")
    return BodySample(problem=f"the runner {name!r} does not look into bodies, or the body begins or ends just now")
