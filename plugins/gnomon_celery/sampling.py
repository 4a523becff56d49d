"""Looks into a body that a worker runs: the question waits in the channel until the worker posts the next time."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from gnomon.domain.body_sample import BodySample
from gnomon_celery.channel import ASK
from gnomon_celery.connection import AWAY
from gnomon_celery.remote_run import RemoteRun
from gnomon_celery.term import Term

ANSWER_LIMIT_S = 6.0
QUESTION_TTL_S = 60


async def take_sample(remote: RemoteRun, term: Term) -> BodySample:
    """Return where the body of a run is, as its worker says."""
    token = secrets.token_hex(8)
    question: asyncio.Future[BodySample] = asyncio.get_running_loop().create_future()
    remote.questions[token] = question
    script: Any = term.redis.register_script(ASK)
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await script(keys=[term.channel.look], args=[remote.id, token, QUESTION_TTL_S])
            return await question
    except TimeoutError:
        return BodySample(
            problem=f"worker {remote.worker} did not answer within {ANSWER_LIMIT_S:g} s: its body may be in code that "
            "holds the interpreter's lock, or the worker is cut off or has an older version of gnomon"
        )
    except AWAY:
        return BodySample(problem="the worker cannot be asked: the channel cannot be reached")
    finally:
        del remote.questions[token]
