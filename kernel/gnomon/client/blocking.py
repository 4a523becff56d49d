"""The client for programs without an event loop: the same calls as plain methods, usable from any thread."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from gnomon.client.client import Client
from gnomon.client.errors import ClientError
from gnomon.domain.events import Event
from gnomon.domain.records import LogLine
from gnomon.wire.run_frame import RunFrame

P = ParamSpec("P")
R = TypeVar("R")
_END: Any = object()


def _blocking(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[SyncClient, P], R]:
    """Return a coroutine method of Client as a plain method, with its signature and its manual."""

    @functools.wraps(method)
    def call(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(method(self._client, *args, **kwargs))

    call.__qualname__, call.__module__ = f"SyncClient.{method.__name__}", __name__
    return call


class SyncClient:
    """A Client whose calls are plain methods: `with SyncClient(url, token="...") as client: client.trigger("sync")`.

    Its requests run on an event loop in their own thread. The arguments, results and errors are those of `Client`;
    what that yields, `follow`, `follow_log` and `events`, are iterators here.
    """

    def __init__(self, url: str, *, token: str | None = None, patience: timedelta | float = 60.0) -> None:
        self._client = Client(url, token=token, patience=patience)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Open the session; nothing is sent yet."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gnomon client", daemon=True)
        self._thread.start()
        self._run(self._client.__aenter__())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections; closing a closed client does nothing."""
        loop, thread, self._loop = self._loop, self._thread, None
        if loop is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._client.__aexit__(None, None, None), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    past = _blocking(Client.past)
    jobs = _blocking(Client.jobs)
    job = _blocking(Client.job)
    preview_job = _blocking(Client.preview_job)
    add_job = _blocking(Client.add_job)
    add_jobs = _blocking(Client.add_jobs)
    replace_job = _blocking(Client.replace_job)
    change_job = _blocking(Client.change_job)
    remove_job = _blocking(Client.remove_job)
    pause = _blocking(Client.pause)
    resume = _blocking(Client.resume)
    skip = _blocking(Client.skip)
    backfill = _blocking(Client.backfill)
    count_backfill = _blocking(Client.count_backfill)
    stop_backfill = _blocking(Client.stop_backfill)
    pause_jobs = _blocking(Client.pause_jobs)
    resume_jobs = _blocking(Client.resume_jobs)
    cancel_runs = _blocking(Client.cancel_runs)
    retry_runs = _blocking(Client.retry_runs)
    hold = _blocking(Client.hold)
    release = _blocking(Client.release)
    step_down = _blocking(Client.step_down)
    kernels = _blocking(Client.kernels)
    workers = _blocking(Client.workers)
    alerts = _blocking(Client.alerts)
    acknowledge_alert = _blocking(Client.acknowledge_alert)
    snooze_alert = _blocking(Client.snooze_alert)
    resolve_alert = _blocking(Client.resolve_alert)
    act_on_alerts = _blocking(Client.act_on_alerts)
    wall_links = _blocking(Client.wall_links)
    make_wall_link = _blocking(Client.make_wall_link)
    revoke_wall_link = _blocking(Client.revoke_wall_link)
    actions = _blocking(Client.actions)
    compare_periods = _blocking(Client.compare_periods)
    statistics = _blocking(Client.statistics)
    label_statistics = _blocking(Client.label_statistics)
    labels = _blocking(Client.labels)
    today = _blocking(Client.today)
    trigger = _blocking(Client.trigger)
    trigger_many = _blocking(Client.trigger_many)
    cancel = _blocking(Client.cancel)
    sample = _blocking(Client.sample)
    execution = _blocking(Client.execution)
    history = _blocking(Client.history)
    executions = _blocking(Client.executions)
    explain = _blocking(Client.explain)
    explain_run = _blocking(Client.explain_run)
    audit = _blocking(Client.audit)
    job_changes = _blocking(Client.job_changes)
    compare_run = _blocking(Client.compare_run)
    wait = _blocking(Client.wait)
    wait_many = _blocking(Client.wait_many)
    log = _blocking(Client.log)

    def follow(self, task_id: str, *, after: int | None = None) -> Iterator[RunFrame]:
        """Follow an execution to its end, or the runs of a job without end, as `Client.follow` does."""
        return self._each(self._client.follow(task_id, after=after))

    def follow_log(self, execution_id: str, *, after: int = 0) -> Iterator[LogLine]:
        """Yield the lines that a run logs, until it is over."""
        return self._each(self._client.follow_log(execution_id, after=after))

    def events(
        self, *, after: int | None = None, job_id: str | None = None, types: tuple[str, ...] = ()
    ) -> Iterator[Event]:
        """Yield the events of the log without end, as `Client.events` does."""
        return self._each(self._client.events(after=after, job_id=job_id, types=types))

    def _run(self, call: Coroutine[Any, Any, R]) -> R:
        if self._loop is None:
            call.close()
            raise ClientError("the client is closed: call it inside `with SyncClient(...) as client:`")
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def _each(self, items: AsyncIterator[R]) -> Iterator[R]:
        async def following() -> R:
            return await anext(items, _END)

        try:
            while (item := self._run(following())) is not _END:
                yield item
        finally:
            close = getattr(items, "aclose", None)
            if close is not None and self._loop is not None:
                self._run(close())
