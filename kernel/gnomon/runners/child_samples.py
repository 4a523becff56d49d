"""Looks into a child process: asks a thread of it where its body is, and its interpreter where that is silent."""

from __future__ import annotations

import asyncio
import itertools

from gnomon.domain.body_sample import BodySample
from gnomon.runners.child_protocol import Sampled, SampleRequest, encode_to_child
from gnomon.runners.process_usage import process_usage
from gnomon.runners.stack_dump import StackDump
from gnomon.subprocesses.monitored import MonitoredProcess

ANSWER_LIMIT_S = 2.0
SILENT = (
    f"the process did not answer within {ANSWER_LIMIT_S:g} s: it may be in code that holds the interpreter's lock, "
    "have been stopped, or find no time on a busy machine"
)


class ChildSamples:
    """The looks into one child, through the pipe to it, and into the file in which it dumps its stack."""

    def __init__(self, requests: asyncio.WriteTransport, process: MonitoredProcess, dump: StackDump) -> None:
        self._requests = requests
        self._process = process
        self._dump = dump
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[BodySample]] = {}

    async def take(self) -> BodySample:
        """Return where the body is, and what its process uses."""
        number = next(self._numbers)
        answer: asyncio.Future[BodySample] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._requests.write(encode_to_child(SampleRequest(number)))
            # In real time: the child is real on any clock.
            async with asyncio.timeout(ANSWER_LIMIT_S):
                return await answer
        except TimeoutError:
            return await self._from_outside()
        finally:
            del self._asked[number]

    def answered(self, message: Sampled) -> None:
        """Pass on the answer of the child."""
        answer = self._asked.get(message.number)
        if answer is not None and not answer.done():
            answer.set_result(message.sample)

    async def _from_outside(self) -> BodySample:
        if (pid := self._process.pid) is None:
            return BodySample(is_shared=False, problem="the process is being started")
        stack = await self._dump.take(pid)
        usage = process_usage(pid)
        return BodySample(
            stacks=[stack] if stack is not None else [],
            process=usage,
            is_shared=False,
            cpu_s=usage.cpu_s,
            problem=SILENT,
        )
