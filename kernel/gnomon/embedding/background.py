"""A kernel for programs without an event loop: Flask, Django, scripts, notebooks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from gnomon.api import KernelApi
from gnomon.domain.kernel_health import Health
from gnomon.domain.parameter_checks import checked
from gnomon.embedding.kernel_thread import KernelThread
from gnomon.jobs.job import Job
from gnomon.kernel import Kernel
from gnomon.plugins.plugin_set import PluginSet
from gnomon.ports import Clock

P = ParamSpec("P")
R = TypeVar("R")


def _settings_of(
    kernel: Callable[Concatenate[Kernel, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[BackgroundKernel, P], None]]:
    """Return a decorator that gives a constructor the parameters of another one, for mypy and help()."""

    def decorate(init: Callable[..., None]) -> Callable[Concatenate[BackgroundKernel, P], None]:
        init.__signature__ = inspect.signature(kernel)  # type: ignore[attr-defined]
        return init

    return decorate


def _blocking(
    method: Callable[Concatenate[KernelApi, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BackgroundKernel, P], R]:
    """Return a coroutine method of KernelApi as a plain method, with its signature and its manual."""

    @functools.wraps(method)
    def call(self: BackgroundKernel, /, *args: P.args, **kwargs: P.kwargs) -> R:
        found: Callable[P, Coroutine[Any, Any, R]] = getattr(self.kernel, method.__name__)
        return self._thread.call(method.__name__, lambda: found(*args, **kwargs))

    call.__qualname__, call.__module__ = f"BackgroundKernel.{method.__name__}", __name__
    return call


class BackgroundPast:
    """A BackgroundKernel as of a moment: its questions are plain methods, and it refuses orders with PastError."""

    def __init__(self, past: KernelApi, thread: KernelThread) -> None:
        self.kernel, self._thread = past, thread

    def health(self) -> Health:
        """Return what the log knows of the kernel's health then."""
        return self.kernel.health()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a question as a plain method."""
        method = getattr(self.kernel, name)
        return lambda *args, **kwargs: self._thread.call(name, lambda: method(*args, **kwargs))


class BackgroundKernel:
    """A kernel on its own thread and event loop, for programs that have no loop.

    `with BackgroundKernel(jobs=[...]) as kernel:` starts it and stops it at the end of the block; so do `start()` and
    `shutdown()`. A kernel that still runs when the program ends is stopped then. The settings are those of `Kernel`.

    Every query and command of `KernelApi` is a plain method that may be called from any thread. It returns when the
    kernel has answered, and raises what the coroutine raises; GnomonError where the kernel is not running. `kernel` is
    the Kernel itself.

    The kernel lives in the process that starts it. A process that is forked afterwards, such as a worker of a server
    that loads the program first, has no kernel: its calls raise ForkedProcessError.
    """

    @_settings_of(Kernel.__init__)
    def __init__(self, **settings: Any) -> None:
        self.kernel = Kernel(**settings)
        self._thread = KernelThread(self.kernel)

    @checked
    def start(self, *, timeout: float | None = None) -> Self:
        """Start the kernel and return when it runs, with the kernel; raise what its start raises.

        GnomonError where it has been started before, or does not start within `timeout` seconds. The kernel must not be
        started before a fork: a server with several processes starts it in the one that is to run the jobs.
        """
        self._thread.start(timeout)
        return self

    @checked
    def shutdown(self, *, wait: bool = True, reason: str = "shutdown() was called") -> None:
        """Stop the kernel, and return when everything is in the store; nothing happens where it does not run.

        With `wait` it waits for running bodies, up to the setting `drain`, and cancels the rest; else it cancels them
        at once. Raise the error that ended the kernel, if it had ended by itself. `reason` is recorded.
        """
        self._thread.stop(drains=wait, reason=reason)

    def __enter__(self) -> Self:
        """Start the kernel."""
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the kernel; after an exception, such as a Ctrl-C, without waiting for running bodies."""
        reason = f"{exc_type.__name__} was raised" if exc_type is not None else "it was closed"
        self.shutdown(wait=exc_type is None, reason=reason)

    @property
    def is_running(self) -> bool:
        """Whether the kernel runs in this process, so that calls are answered."""
        return self._thread.state == "running" and self._thread.is_of_this_process

    @property
    def clock(self) -> Clock:
        """The kernel's clock."""
        return self.kernel.clock

    @property
    def node(self) -> str:
        """The name of this kernel's machine or process, as it stands in every event."""
        return self.kernel.node

    @property
    def log_id(self) -> str:
        """The id of the log; empty before the start."""
        return self.kernel.log_id

    @property
    def directory(self) -> Path | None:
        """The folder of the log's files; None for a log that is only in memory."""
        return self.kernel.directory

    @property
    def plugins(self) -> PluginSet:
        """The plugins of this kernel, in the order in which they were added."""
        return self.kernel.plugins

    def health(self) -> Health:
        """Return the kernel's health, from memory; may be called in any thread and before the start."""
        return self.kernel.health()

    def at(self, moment: datetime) -> BackgroundPast:
        return BackgroundPast(self._thread.call("at", lambda: self.kernel.at(moment)), self._thread)

    def add(self, job: Job | Callable[..., Any]) -> Job:
        """Add a Job, or a function decorated with @job, before the start; afterwards use `add_job`."""
        return self.kernel.add(job)

    # --- jobs ---

    jobs = _blocking(KernelApi.jobs)
    kernels = _blocking(KernelApi.kernels)
    step_down = _blocking(KernelApi.step_down)
    workers = _blocking(KernelApi.workers)
    report_member = _blocking(KernelApi.report_member)
    remove_member = _blocking(KernelApi.remove_member)
    job = _blocking(KernelApi.job)
    add_job = _blocking(KernelApi.add_job)
    add_jobs = _blocking(KernelApi.add_jobs)
    change_job = _blocking(KernelApi.change_job)
    remove_job = _blocking(KernelApi.remove_job)
    skip = _blocking(KernelApi.skip)
    pause_jobs = _blocking(KernelApi.pause_jobs)
    resume_jobs = _blocking(KernelApi.resume_jobs)
    cancel_runs = _blocking(KernelApi.cancel_runs)
    backfill = _blocking(KernelApi.backfill)
    stop_backfill = _blocking(KernelApi.stop_backfill)
    hold = _blocking(KernelApi.hold)
    release = _blocking(KernelApi.release)
    apply_jobs = _blocking(KernelApi.apply_jobs)
    pause = _blocking(KernelApi.pause)
    resume = _blocking(KernelApi.resume)
    describe = _blocking(KernelApi.describe)
    preview_job = _blocking(KernelApi.preview_job)
    order_job = _blocking(KernelApi.order_job)
    order_jobs = _blocking(KernelApi.order_jobs)
    parameters = _blocking(KernelApi.parameters)

    # --- runs ---

    trigger = _blocking(KernelApi.trigger)
    trigger_many = _blocking(KernelApi.trigger_many)
    cancel = _blocking(KernelApi.cancel)
    fail = _blocking(KernelApi.fail)
    warn = _blocking(KernelApi.warn)
    hide = _blocking(KernelApi.hide)
    execution = _blocking(KernelApi.execution)
    executions = _blocking(KernelApi.executions)
    live_runs = _blocking(KernelApi.live_runs)
    wait = _blocking(KernelApi.wait)
    wait_many = _blocking(KernelApi.wait_many)
    timing = _blocking(KernelApi.timing)
    sample = _blocking(KernelApi.sample)

    # --- the log ---

    history = _blocking(KernelApi.history)
    log = _blocking(KernelApi.log)
    explain = _blocking(KernelApi.explain)
    explain_run = _blocking(KernelApi.explain_run)
    audit = _blocking(KernelApi.audit)
    job_changes = _blocking(KernelApi.job_changes)
    compare_run = _blocking(KernelApi.compare_run)
    events = _blocking(KernelApi.events)
    actions = _blocking(KernelApi.actions)
    checkpoint = _blocking(KernelApi.checkpoint)
    save_checkpoint = _blocking(KernelApi.save_checkpoint)
    claim = _blocking(KernelApi.claim)
    record_fact = _blocking(KernelApi.record_fact)

    sleep = _blocking(KernelApi.sleep)


functools.update_wrapper(BackgroundKernel.at, KernelApi.at)
BackgroundKernel.at.__qualname__, BackgroundKernel.at.__module__ = "BackgroundKernel.at", __name__
