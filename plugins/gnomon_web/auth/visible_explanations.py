"""Explanations for the holder of a limited token: without the sentences that name jobs outside of its scope."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import msgspec

from gnomon.domain.statement import state
from gnomon.explanations import Explanation, FireExplanation

HIDDEN: Final = "Another job, which this token does not show, is a part of the reason."
_RUN_ID = re.compile(r"\b[0-9a-f]{24}\b")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


async def visible_explanation(
    found: Explanation, hidden_jobs: Collection[str], sees_run: Callable[[str], Awaitable[bool]]
) -> Explanation:
    """Return an explanation whose sentences name neither one of these jobs nor a run that is not seen."""

    async def visible(one: Explanation | FireExplanation) -> dict[str, Any]:
        sentences, statements = [], []
        for sentence, statement in zip(one.sentences, one.statements, strict=True):
            words = {word.rstrip(".:") for word in _WORD.findall(sentence)}
            named = [await sees_run(run_id) for run_id in _RUN_ID.findall(sentence)]
            is_seen = words.isdisjoint(hidden_jobs) and all(named)
            sentences.append(sentence if is_seen else HIDDEN)
            statements.append(statement if is_seen else state("hidden"))
        return {"sentences": sentences, "statements": statements}

    async def of_fire(fire: FireExplanation) -> FireExplanation:
        behind = [run for run in fire.behind if await sees_run(run.id)]
        return msgspec.structs.replace(fire, **await visible(fire), behind=behind)

    fires = [await of_fire(fire) for fire in found.fires]
    return msgspec.structs.replace(found, **await visible(found), fires=fires)
