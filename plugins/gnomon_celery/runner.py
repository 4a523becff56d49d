"""The runner: hands bodies over to Celery workers, and follows them to their ends.

It sends a task for each run, whose id is that of the execution. A worker claims the id in Redis before it begins, so
that a task that was sent or delivered twice begins once; a run that must not begin any more is claimed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from redis.asyncio import Redis

from gnomon import GnomonError, Job
from gnomon.backoff import Backoff
from gnomon.domain.workers import WorkerView
from gnomon.durations import decode_hook
from gnomon.logs import get_logger
from gnomon.runners.base import DurableLog, Outcome, Run, Runner
from gnomon.runners.context import PROGRESS_RATE
from gnomon.tasks import ProtectedTask, protected
from gnomon_celery.channel import ANSWER, CANCEL, WITHDRAW, WITHDRAWN, Channel, process_of, worker_of
from gnomon_celery.config import RUNNER, CeleryConfig, JobOptions
from gnomon_celery.connection import AWAY, open_redis
from gnomon_celery.messages import KILL, Answered, Assignment
from gnomon_celery.problems import channel_problem
from gnomon_celery.reader import FIRST_PAUSE_S, LONGEST_PAUSE_S, StreamReader
from gnomon_celery.remote_run import RemoteRun
from gnomon_celery.roster import PREFORK, list_workers, queue_lengths, takers, view
from gnomon_celery.sending import Refused, Sender, TaskMessage
from gnomon_celery.watch import HEARTBEATS, HeartbeatWatch

log = get_logger("gnomon.celery")
MOST_PRIORITY_IN_REDIS = 9
ATTEND_PAUSE_S = 1.0
"""The pause between two looks at the runs that have not begun."""
SHOWN_AFTER_S = 3.0
"""How long a run waits before it is shown why: what passes by itself needs no record."""
END_PATIENCE_S = 5.0
"""How long the end of a term waits for its tasks."""


class Term(msgspec.Struct, frozen=True):
    """What a runner has from the beginning of a term to its end."""

    channel: Channel
    redis: Redis
    sender: Sender
    reader: StreamReader


class CeleryRunner(Runner):
    """Runs bodies in Celery workers. Used on the kernel's loop, except for `problem` and `parked`."""

    name = RUNNER
    is_remote = True

    def __init__(self, config: CeleryConfig) -> None:
        self._config = config
        self._term: Term | None = None
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
        config, heartbeat = self._config, self._config.heartbeat.total_seconds()
        channel = Channel.of_log(config.prefix, durable_log.log_id)
        self._runs.clear()
        self._loop = asyncio.get_running_loop()
        async with open_redis(config) as redis:
            reader = StreamReader(redis, channel, durable_log.term, self._runs, durable_log.durable, self._note_channel)
            sender = Sender(config, self._on_sent)
            self._term = Term(channel, redis, sender, reader)
            watch = HeartbeatWatch(redis, channel, heartbeat, reader, self._begun)
            sender.start()
            for work in (self._read(reader), reader.settle(), watch.watch(), self._attend(redis)):
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
            if run.body.child_target is not None and not (remote.has_begun or remote.is_over):
                self._send(remote)  # else the job was removed: what was sent before is withdrawn, or ends
            return await remote.ended
        finally:
            remote.is_returned = remote.is_over  # else the kernel stops, and the next one goes on from here
            message.is_dropped = True
            remote.stop_answering()
            del self._runs[run.execution.id]

    def withdraw(self, execution_id: str) -> None:
        """Claim the run, so that no worker begins it."""
        if (remote := self._runs.get(execution_id)) is not None and not remote.has_begun:
            remote.show_wait(self._obstacle(remote) or remote.shown_wait)  # it may be too soon for `_attend`
            self._start(self._until_done(remote, self._withdraw))

    def cancel(self, execution_id: str) -> None:
        """Request that the body stops; after its grace the process is terminated, where the worker's pool has one."""
        remote = self._runs.get(execution_id)
        if remote is not None and not remote.is_stopping:
            remote.is_stopping = True
            self._start(self._until_done(remote, self._stop))

    async def workers(self) -> WorkerView | None:
        term = self._term
        if term is None:
            return None
        config = self._config
        workers = await list_workers(term.redis, config.prefix, HEARTBEATS * config.heartbeat.total_seconds())
        queues = {config.queue, *takers(workers), *(remote.message.queue for remote in self._runs.values())}
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
        """Drop what workers report of runs that are over."""

        def drop() -> None:
            if self._term is not None:
                for execution_id in execution_ids:
                    self._term.reader.drop(execution_id)

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

    # --- stopping ---

    async def _withdraw(self, remote: RemoteRun, term: Term) -> None:
        if not remote.message.may_be_sent and not remote.run.is_adopted:
            remote.message.is_dropped = True
            if not remote.message.may_be_sent:  # read again: a thread may have begun just now
                remote.end(Outcome(0.0, cancelled=True))
                return
        script: Any = term.redis.register_script(WITHDRAW)
        claim = await script(keys=[term.channel.claim(remote.id)], args=[round(self._config.claim_ttl.total_seconds())])
        if (text := claim.decode()) == WITHDRAWN:
            remote.end(Outcome(0.0, cancelled=True))
        else:
            log.debug("a run was to be withdrawn, and has begun", run=remote.id, worker=worker_of(text))

    async def _stop(self, remote: RemoteRun, term: Term) -> None:
        """Keep the body from beginning, or request that it stops; terminate it after its grace."""
        if not remote.has_begun:
            await self._withdraw(remote, term)
        if remote.is_over:
            return
        script: Any = term.redis.register_script(CANCEL)
        ttl = round(self._config.result_ttl.total_seconds())
        await script(keys=[term.channel.cancel], args=[remote.id, ttl])
        act = self._terminate  # interrupts the body, which can clean up
        while not await _ended_within(remote, remote.run.cancel_grace):
            if not await self._has_process(remote, term):
                return
            await act(remote, term)
            act = self._kill

    async def _has_process(self, remote: RemoteRun, term: Term) -> bool:
        """Whether the worker of a run has a process for it that can be ended."""
        config = self._config
        workers = await list_workers(term.redis, config.prefix, HEARTBEATS * config.heartbeat.total_seconds())
        pool = next((one.info.pool for one in workers if one.info.name == remote.worker), None)
        if pool is not None and pool not in PREFORK:
            log.warning("a body does not stop, and only the pool 'prefork' can end it", run=remote.id, pool=pool)
            return False
        return True

    async def _terminate(self, remote: RemoteRun, term: Term) -> None:
        where = [remote.worker] if remote.worker else None
        await term.sender.ask(
            lambda app: app.control.revoke(remote.id, terminate=True, signal="SIGTERM", destination=where)
        )

    async def _kill(self, remote: RemoteRun, term: Term) -> None:
        claim: Any = await term.redis.get(term.channel.claim(remote.id))
        process_id = process_of(claim.decode()) if claim is not None else None
        if process_id is not None and remote.worker:
            arguments, where = {"process_id": process_id}, [remote.worker]
            await term.sender.ask(lambda app: app.control.broadcast(KILL, arguments=arguments, destination=where))

    async def _until_done(self, remote: RemoteRun, act: Callable[[RemoteRun, Term], Awaitable[None]]) -> None:
        """Do something about a run; try again while the channel or the broker is away, until the run is over."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter=0.5)
        while not remote.is_over and (term := self._term) is not None:
            try:
                await act(remote, term)
            except Exception as exc:  # noqa: BLE001 - drivers of brokers raise what they like
                log.debug("a run could not be stopped yet", run=remote.id, problem=channel_problem(exc, self._config))
                await _ended_within(remote, backoff.next())
            else:
                return

    # --- reading ---

    async def _read(self, reader: StreamReader) -> None:
        await reader.lead()
        await reader.read()

    async def _answer(self, execution_id: str, answered: Answered) -> None:
        """Post the answer to an order of a body; wait for Redis."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter=0.5)
        text, ttl = msgspec.json.encode(answered), round(self._config.result_ttl.total_seconds())
        while (term := self._term) is not None:
            script: Any = term.redis.register_script(ANSWER)
            try:
                await script(keys=[term.channel.answer(execution_id, answered.number)], args=[text, ttl])
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

    # --- runs that wait ---

    async def _attend(self, redis: Redis) -> None:
        """Show why runs do not begin, and send those again whose claims would run out."""
        config = self._config
        while True:
            await asyncio.sleep(ATTEND_PAUSE_S)
            now = time.monotonic()
            waiting = [one for one in self._runs.values() if not (one.has_begun or one.is_over)]
            waiting = [one for one in waiting if now - one.sent_at > SHOWN_AFTER_S]
            counts: Counter[str] | None = None
            if waiting and self._channel_problem is None:
                with contextlib.suppress(*AWAY):
                    silent_after = HEARTBEATS * config.heartbeat.total_seconds()
                    counts = takers(await list_workers(redis, config.prefix, silent_after))
            for remote in waiting:
                remote.show_wait(self._obstacle(remote, counts))
                if remote.is_sent and now - remote.sent_at > config.claim_ttl.total_seconds() / 2:
                    self._send(remote)

    def _obstacle(self, remote: RemoteRun, takers_of: Counter[str] | None = None) -> str | None:
        """Return why a run does not begin, as far as is known."""
        if not remote.is_sent and self._term is not None and self._term.sender.problem is not None:
            return self._term.sender.problem
        if self._channel_problem is not None:
            return self._channel_problem
        if remote.is_sent and takers_of is not None and not takers_of[remote.message.queue]:
            return f"no worker takes tasks from queue {remote.message.queue!r}"
        return None

    # --- tasks ---

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


async def _ended_within(remote: RemoteRun, seconds: float) -> bool:
    await asyncio.wait([remote.ended], timeout=seconds)
    return remote.is_over
