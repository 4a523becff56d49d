"""The runner: hands bodies over to Celery workers, and follows them to their ends.

It sends a task for each run, whose id is that of the execution. A worker claims the id in Redis before it begins, so
that a task that was sent or delivered twice begins once; a run that must not begin any more is claimed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec

from gnomon import GnomonError, Job
from gnomon.backoff import Backoff
from gnomon.domain.body_sample import BodySample
from gnomon.domain.workers import WorkerView
from gnomon.durations import decode_hook
from gnomon.logs import get_logger
from gnomon.runners.base import DurableLog, Outcome, Run, Runner
from gnomon.runners.context import PROGRESS_RATE
from gnomon.tasks import ProtectedTask, protected
from gnomon_celery.channel import ANSWER, Channel
from gnomon_celery.config import RUNNER, CeleryConfig, JobOptions
from gnomon_celery.connection import AWAY, open_redis
from gnomon_celery.messages import Answered, Assignment
from gnomon_celery.problems import channel_problem
from gnomon_celery.reader import FIRST_PAUSE_S, LONGEST_PAUSE_S, StreamReader
from gnomon_celery.remote_run import RemoteRun
from gnomon_celery.roster import queue_lengths, takers, view
from gnomon_celery.sampling import take_sample
from gnomon_celery.sending import Refused, Sender, TaskMessage
from gnomon_celery.stopping import give_up, stop, until_done, withdraw
from gnomon_celery.term import Term
from gnomon_celery.waiting import WaitingRuns
from gnomon_celery.watch import HEARTBEATS, HeartbeatWatch

log = get_logger("gnomon.celery")
MOST_PRIORITY_IN_REDIS = 9
END_PATIENCE_S = 5.0
"""How long the end of a term waits for its tasks."""


class CeleryRunner(Runner):
    """Runs bodies in Celery workers. Used on the kernel's loop, except for `problem` and `parked`."""

    name = RUNNER
    is_remote = True

    def __init__(self, config: CeleryConfig) -> None:
        self._config = config
        self._term: Term | None = None
        self._waiting: WaitingRuns | None = None
        self._runs: dict[str, RemoteRun] = {}
        self._tasks: set[ProtectedTask[None]] = set()
        self._channel_problem: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- the port ---

    def queue_of(self, job: Job) -> str:
        return self._options(job).queue or self._config.queue

    @contextlib.asynccontextmanager
    async def lifespan(self, durable_log: DurableLog) -> AsyncIterator[None]:
        """Start the threads that send and the tasks that read; stop them at the end of the term."""
        config = self._config
        channel = Channel.of_log(config.prefix, durable_log.log_id)
        self._runs.clear()
        self._loop = asyncio.get_running_loop()
        async with open_redis(config) as redis:
            reader = StreamReader(redis, channel, durable_log.term, self._runs, durable_log.durable, self._note_channel)
            sender = Sender(config, self._on_sent)
            term = self._term = Term(config, channel, redis, sender, reader, durable_log.late)
            watch = HeartbeatWatch(redis, channel, term.heartbeat, term.result_ttl, reader, self._begun)
            waiting = self._waiting = WaitingRuns(term, self._runs.values, self._send, lambda: self._channel_problem)
            sender.start()
            for work in (self._read(reader), reader.settle(), watch.watch(), waiting.attend()):
                self._start(work)
            try:
                yield
            finally:
                self._term = None
                sender.stop()
                await self._end_tasks()
                with contextlib.suppress(GnomonError, *AWAY):
                    async with asyncio.timeout(config.timeout.total_seconds()):
                        await reader.settle_now()

    async def run(self, run: Run) -> Outcome:
        """Send the body to a worker, unless one has it, and wait for its end."""
        term = self._the_term()
        try:
            message = self._message(run, term.channel)
        except (TypeError, ValueError, RecursionError, GnomonError) as exc:
            text = f"the run cannot be sent to a worker: {exc}"
            return Outcome(0.0, error_type=type(exc).__name__, error_message=text)
        remote = self._runs[run.execution.id] = RemoteRun(run, message, self._answer, self._send)
        try:
            if run.is_adopted and run.execution.status == "running":
                remote.begin(run.execution.worker or "")
            term.reader.adopt(remote)
            if not (remote.has_begun or remote.is_over):
                if run.body.child_target is not None:
                    self._send(remote)
                else:  # the job is gone, or its function is one of this process: it waits with what was sent before
                    remote.is_sent = True
            return await remote.ended
        finally:
            remote.is_returned = remote.is_over  # else the kernel stops, and the next one goes on from here
            message.is_dropped = True
            remote.stop_answering()
            del self._runs[run.execution.id]

    def withdraw(self, execution_id: str) -> None:
        """Claim the run, so that no worker begins it."""
        if (remote := self._runs.get(execution_id)) is not None and not remote.has_begun:
            if self._waiting is not None:  # it may be too soon for `attend`
                remote.show_wait(self._waiting.obstacle(remote) or remote.shown_wait)
            self._start(until_done(remote, self._present_term, withdraw))

    def cancel(self, execution_id: str) -> None:
        """Request that the body stops; after its grace the process is terminated, where the worker's pool has one."""
        remote = self._runs.get(execution_id)
        if remote is not None and not remote.is_stopping:
            remote.is_stopping = True
            self._start(until_done(remote, self._present_term, stop))

    async def sample(self, execution_id: str) -> BodySample | None:
        remote, term = self._runs.get(execution_id), self._term
        return None if remote is None or term is None or remote.is_over else await take_sample(remote, term)

    async def workers(self) -> WorkerView | None:
        term = self._term
        if term is None:
            return None
        workers = await term.workers()
        queues = {self._config.queue, *takers(workers), *(remote.message.queue for remote in self._runs.values())}
        lengths = await term.sender.ask(lambda app: queue_lengths(app, queues))
        return view(workers, lengths)

    # --- for the plugin, from its own thread ---

    @property
    def problem(self) -> str | None:
        """Why bodies cannot be sent, or are not heard of, or None."""
        term = self._term
        if term is None:
            return None
        if term.sender.problem is None and self._channel_problem is None and term.reader.is_deposed:
            return "another kernel reads what the workers report"
        return term.sender.problem or self._channel_problem

    def parked(self, older_than: float) -> list[str]:
        """Return the runs of which workers report, and which nobody has asked to run here, for so many seconds."""
        term = self._term
        return term.reader.parked(older_than) if term is not None else []

    def drop(self, execution_ids: list[str]) -> None:
        """Drop what workers report of runs that are over; how a body ended that was lost is recorded."""

        def drop() -> None:
            if (term := self._term) is not None:
                self._start(term.reader.drop_all(execution_ids, term.late))

        if execution_ids and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(drop)

    # --- sending ---

    def _message(self, run: Run, channel: Channel) -> TaskMessage:
        job, execution, config = run.job, run.execution, self._config
        options = self._options(job)
        timeout = job.timeout.total_seconds() if job.timeout else None
        assignment = Assignment(
            execution=execution,
            func=run.body.child_target or "",
            channel=channel.prefix,
            claim_ttl=round(config.claim_ttl.total_seconds()),
            result_ttl=round(config.result_ttl.total_seconds()),
            timeout=timeout,
            silence=job.silence.total_seconds() if job.silence else None,
            cancel_grace=run.cancel_grace,
            heartbeat=config.heartbeat.total_seconds(),
            rate=PROGRESS_RATE,
            log_level=min(logging.getLogger().getEffectiveLevel(), logging.INFO),
        )
        return TaskMessage(
            execution_id=execution.id,
            job_id=job.id,
            assignment=msgspec.json.encode(assignment).decode(),
            queue=options.queue or config.queue,
            options=_send_options(options, config, job, timeout),
        )

    def _options(self, job: Job) -> JobOptions:
        # The options contain the keys of other plugins as well, which msgspec ignores.
        return msgspec.convert(job.options, JobOptions, dec_hook=decode_hook) if job.options else _NO_OPTIONS

    def _send(self, remote: RemoteRun) -> None:
        if (term := self._term) is None:
            return
        if remote.run.body.child_target is None:
            self._start(until_done(remote, self._present_term, give_up))
            return
        remote.is_sent, remote.sent_at = False, time.monotonic()
        term.sender.send(remote.message)

    def _on_sent(self, message: TaskMessage, refused: Refused | None) -> None:
        remote = self._runs.get(message.execution_id)
        if remote is None or remote.message is not message:
            return
        if refused is not None:
            remote.end(Outcome(0.0, error_type=refused.error_type, error_message=refused.message))
            return
        remote.is_sent, remote.sent_at = True, time.monotonic()

    # --- reading ---

    async def _read(self, reader: StreamReader) -> None:
        await reader.lead()
        await reader.read()

    async def _answer(self, execution_id: str, answered: Answered) -> None:
        """Post the answer to an order of a body; wait for Redis."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter=0.5)
        text = msgspec.json.encode(answered)
        while (term := self._term) is not None:
            script: Any = term.redis.register_script(ANSWER)
            try:
                await script(keys=[term.channel.answer(execution_id, answered.number)], args=[text, term.result_ttl])
            except AWAY:
                await asyncio.sleep(backoff.next())
            else:
                return

    def _begun(self) -> list[RemoteRun]:
        return [remote for remote in self._runs.values() if remote.has_begun and not remote.is_over]

    def _note_channel(self, exc: BaseException | None) -> None:
        problem = channel_problem(exc, self._config) if exc is not None else None
        if problem == self._channel_problem:
            return
        if problem is None:
            log.info("the channel from the workers is back", redis=self._config.channel_address)
        elif self._channel_problem is None:
            log.error("the channel from the workers is away", problem=problem)
        self._channel_problem = problem

    # --- tasks ---

    def _present_term(self) -> Term | None:
        return self._term

    def _the_term(self) -> Term:
        if self._term is None:
            raise GnomonError("the runner 'celery' was not started: the kernel has stopped")
        return self._term

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = protected(work, "gnomon celery")
        self._tasks.add(task)
        task.add_done_callback(self._on_task_end)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.critical("a part of the runner 'celery' has failed", problem=f"{type(exc).__name__}: {exc}")

    async def _end_tasks(self) -> None:
        """Cancel the tasks, more than once: redis-py may swallow a cancellation while it connects."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_PATIENCE_S):
                while self._tasks:
                    for task in self._tasks:
                        task.end()
                    await asyncio.wait(list(self._tasks), timeout=0.1)


_NO_OPTIONS = JobOptions()


def _send_options(options: JobOptions, config: CeleryConfig, job: Job, timeout: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {"expires": config.claim_ttl.total_seconds()}
    if config.is_redis_broker:  # Celery prefers the lowest number there, and has four steps from 0 to 9
        found["priority"] = MOST_PRIORITY_IN_REDIS - min(max(job.priority, 0), MOST_PRIORITY_IN_REDIS)
    elif job.priority > 0:
        found["priority"] = min(job.priority, 255)
    if options.routing_key is not None:
        found |= {"routing_key": options.routing_key, "exchange": options.queue or config.queue}
    if timeout is not None:  # the worker's parent ends a child that does not even run Python code any more
        grace = job.cancel_grace.total_seconds() + 2 * HEARTBEATS * config.heartbeat.total_seconds()
        found["time_limit"] = timeout + grace
    return found
