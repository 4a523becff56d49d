"""A kernel for programs without an event loop: calls from any thread, its start and end, the end of the program."""

import asyncio
import inspect
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon import (
    BackgroundKernel,
    Duration,
    ExecutionQuery,
    GnomonError,
    Job,
    Kernel,
    KernelApi,
    KernelStopped,
    StoreInUseError,
    UnknownJobError,
    hookimpl,
)
from gnomon.log_api import LogApi
from gnomon_sqlite import SqliteStore

PATIENCE = 60.0


def double(number: int = 1) -> int:
    return 2 * number


OF_KERNELS = vars(KernelApi) | vars(LogApi)


def make(**settings: Any) -> BackgroundKernel:
    return BackgroundKernel(jobs=[Job(id="double", func=double)], drain=timedelta(0), **settings)


# --- calls ---


def test_every_coroutine_of_the_api_is_a_plain_method_with_its_signature_and_manual() -> None:
    expected = {name: method for name, method in OF_KERNELS.items() if inspect.iscoroutinefunction(method)}

    missing = [name for name in expected if not hasattr(BackgroundKernel, name)]
    assert not missing, f"gnomon/embedding/background.py: add `{missing[0]} = _blocking(KernelApi.{missing[0]})`"
    for name, method in expected.items():
        plain = getattr(BackgroundKernel, name)
        assert not inspect.iscoroutinefunction(plain)
        assert inspect.signature(plain) == inspect.signature(method)
        assert plain.__doc__ == method.__doc__
        assert plain.__qualname__ == f"BackgroundKernel.{name}"


def test_it_has_the_attributes_and_plain_methods_of_the_api_too() -> None:
    plain = {name for name, value in OF_KERNELS.items() if inspect.isfunction(value) and name[0] != "_"}
    names = {*KernelApi.__annotations__, *plain}

    assert not {name for name in names if not hasattr(BackgroundKernel, name)}


def test_it_takes_the_settings_of_a_kernel() -> None:
    assert str(inspect.signature(BackgroundKernel)) == str(inspect.signature(Kernel))
    with pytest.raises(TypeError, match="nosuch"):
        BackgroundKernel(nosuch=1)  # type: ignore[call-arg]


def test_questions_and_orders_are_answered_from_any_thread() -> None:
    with make() as kernel, ThreadPoolExecutor(8) as pool:

        def run(number: int) -> Any:
            return kernel.wait(kernel.trigger("double", kwargs={"number": number}).execution.id).return_value

        assert list(pool.map(run, range(40))) == [2 * number for number in range(40)]
        assert kernel.executions(ExecutionQuery(job_id="double")).total == 40
        assert [view.job.id for view in kernel.jobs()] == ["double"]
        assert kernel.health().state == "healthy"
        assert kernel.log_id
        assert kernel.is_running


def test_a_call_raises_what_the_coroutine_raises() -> None:
    with make() as kernel, pytest.raises(UnknownJobError, match="nosuch"):
        kernel.trigger("nosuch")


def test_a_body_in_a_thread_may_call_its_kernel() -> None:
    with make() as kernel:

        def outer() -> int:
            execution = kernel.wait(kernel.trigger("double", kwargs={"number": 21}).execution.id)
            return int(execution.return_value)

        kernel.add_job(Job(id="outer", func=outer), temporary=True)

        assert kernel.wait(kernel.trigger("outer").execution.id).return_value == 42


def test_a_call_on_the_loop_of_the_kernel_is_refused_instead_of_waiting_for_itself() -> None:
    with make() as kernel:

        async def body() -> str:
            try:
                kernel.trigger("double")
            except GnomonError as exc:
                return str(exc)
            return "no error"

        kernel.add_job(Job(id="body", func=body), temporary=True)
        said = kernel.wait(kernel.trigger("body").execution.id).return_value

    assert said.startswith("trigger() was called on the event loop of the kernel, which would wait for itself")


def test_an_argument_that_cannot_be_read_ends_neither_the_call_nor_the_kernel() -> None:
    class Hostile(str):
        __slots__ = ()

        def __hash__(self) -> int:
            raise SystemExit(3)

    with make() as kernel:
        with pytest.raises(GnomonError):
            kernel.trigger(Hostile("double"))
        assert kernel.wait(kernel.trigger("double").execution.id).return_value == 2


# --- start and shutdown ---


def test_a_failed_start_is_raised_in_the_caller(tmp_path: Path) -> None:
    with make(store=SqliteStore(tmp_path / "log.db")):
        second = make(store=SqliteStore(tmp_path / "log.db"))
        with pytest.raises(StoreInUseError):
            second.start()

    with pytest.raises(GnomonError, match=r"trigger\(\): the kernel has been stopped \(its start failed: "):
        second.trigger("double")
    with pytest.raises(GnomonError, match="cannot be started again: make a new one"):
        second.start()
    second.shutdown()  # nothing to do


def test_calls_before_the_start_and_after_the_shutdown_say_so() -> None:
    kernel = make()
    assert kernel.health().is_starting
    with pytest.raises(GnomonError, match=r"jobs\(\): the kernel is not running: call start\(\), or use"):
        kernel.jobs()

    assert kernel.start() is kernel
    with pytest.raises(GnomonError, match="the kernel is running already"):
        kernel.start()
    kernel.shutdown(reason="maintenance")
    kernel.shutdown()

    with pytest.raises(GnomonError, match=r"jobs\(\): the kernel has been stopped \(maintenance\)"):
        kernel.jobs()
    assert not kernel.is_running


def test_a_start_that_takes_too_long_is_given_up() -> None:
    class Slow:
        def __init__(self) -> None:
            self.may_enter = threading.Event()

        @hookimpl
        def lifespan(self, kernel: KernelApi) -> Any:
            self.may_enter.wait(PATIENCE)
            raise ValueError("too late")

    slow = Slow()
    kernel = make(plugins=[slow])
    with pytest.raises(GnomonError, match=r"did not start within 0\.01 s"):
        kernel.start(timeout=0.01)
    slow.may_enter.set()
    kernel.shutdown()
    assert not kernel.is_running


@pytest.mark.parametrize("limits", [{"cancel_grace": timedelta(days=300_000)}, {"drain": timedelta(days=300_000)}])
def test_a_limit_of_centuries_stops_like_any_other(limits: dict[str, timedelta]) -> None:
    grace, drain = limits.get("cancel_grace", timedelta(0)), limits.get("drain", timedelta(0))
    kernel = BackgroundKernel(
        jobs=[Job(id="double", func=double, cancel_grace=Duration.parse(grace))], drain=drain
    ).start()
    kernel.shutdown()
    assert not kernel.is_running


def test_a_call_that_waits_when_the_kernel_stops_is_told() -> None:
    kernel = BackgroundKernel(jobs=[Job(id="body", func=asyncio.Event().wait)], drain=timedelta(0)).start()
    execution_id = kernel.trigger("body").execution.id
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(kernel.sleep, PATIENCE)
        kernel.executions(ExecutionQuery())  # the loop has taken the call before this one
        kernel.shutdown(wait=False)

        with pytest.raises(GnomonError, match=r"sleep\(\): the kernel stopped before it had answered"):
            waiting.result(PATIENCE)
    assert execution_id


def test_a_shutdown_without_waiting_cancels_running_bodies() -> None:
    recorded = threading.Event()
    begun = threading.Event()

    async def body() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            recorded.set()

    kernel = BackgroundKernel(jobs=[Job(id="body", func=body)], drain=timedelta(hours=1)).start()
    kernel.trigger("body")
    assert begun.wait(PATIENCE)
    kernel.shutdown(wait=False)

    assert recorded.is_set()


def test_an_exception_in_the_block_stops_the_kernel_in_order(tmp_path: Path) -> None:
    job = Job(id="body", func=asyncio.Event().wait)
    background = BackgroundKernel(store=SqliteStore(tmp_path / "log.db"), jobs=[job], drain=timedelta(hours=1))

    def interrupt() -> None:
        with background as kernel:
            kernel.trigger("body")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()

    with make(store=SqliteStore(tmp_path / "log.db")) as kernel:
        stops = [event for event in kernel.events() if isinstance(event, KernelStopped)]
        assert [event.reason for event in stops] == ["KeyboardInterrupt was raised"]
        assert [one.status for one in kernel.executions(ExecutionQuery()).items] == ["cancelled"]


# --- the end of the program, and its forks ---

PROGRAM = """
import os, signal, sys, threading, time
from datetime import timedelta
from gnomon import BackgroundKernel, Job
from gnomon_sqlite import SqliteStore

begun = threading.Event()

def waits():
    begun.set()
    time.sleep(0.2)
    return "done"

def hangs():
    begun.set()
    threading.Event().wait()

async def uses_the_default_executor():
    import asyncio
    await asyncio.get_running_loop().run_in_executor(None, begun.set)

JOBS = [
    Job(id="waits", func=waits),
    Job(id="hangs", func=hangs, cancel_grace=0.1),
    Job(id="executor", func=uses_the_default_executor),
]
kernel = BackgroundKernel(store=SqliteStore("log.db"), jobs=JOBS, drain=timedelta(seconds=DRAIN))
"""


def run_program(folder: Path, rest: str, drain: float = 60.0) -> subprocess.CompletedProcess[str]:
    path = folder / "program.py"
    path.write_text(PROGRAM.replace("DRAIN", str(drain)) + rest)
    command = [sys.executable, path.name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


def read_log(folder: Path) -> tuple[list[str], list[str]]:
    """Return the statuses of runs, oldest first, and the reasons of stops."""
    with BackgroundKernel(store=SqliteStore(folder / "log.db"), keeps_time=False) as kernel:
        runs = kernel.executions(ExecutionQuery()).items
        stops = [event.reason for event in kernel.events() if isinstance(event, KernelStopped)]
    return [run.status for run in reversed(runs)], stops


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise ValueError"])
def test_the_end_of_the_program_waits_for_bodies_and_writes_everything(tmp_path: Path, ending: str) -> None:
    done = run_program(tmp_path, f"kernel.start()\nkernel.trigger('waits')\nbegun.wait()\n{ending}\n")

    assert done.returncode == {"": 0, "sys.exit(3)": 3, "raise ValueError": 1}[ending], done.stderr
    assert read_log(tmp_path) == (["success"], ["the program ended"])


def test_the_end_of_the_program_does_not_wait_for_a_body_that_never_ends(tmp_path: Path) -> None:
    done = run_program(tmp_path, "kernel.start()\nkernel.trigger('hangs')\nbegun.wait()\n", drain=0.1)

    assert done.returncode == 0, done.stderr
    assert read_log(tmp_path) == (["failed"], ["the program ended"])


def test_the_end_of_the_program_is_clean_where_a_body_has_used_the_default_executor(tmp_path: Path) -> None:
    rest = "kernel.start()\nkernel.wait(kernel.trigger('executor').execution.id)\n"
    done = run_program(tmp_path, rest)

    assert (done.returncode, done.stderr) == (0, "")
    assert read_log(tmp_path) == (["success"], ["the program ended"])


def test_the_end_of_the_program_stops_what_is_left_after_a_shutdown_of_another_kernel(tmp_path: Path) -> None:
    rest = "other = BackgroundKernel().start()\nkernel.start()\nother.shutdown()\nassert kernel.jobs()\n"
    done = run_program(tmp_path, rest)

    assert (done.returncode, done.stderr) == (0, "")
    assert read_log(tmp_path) == ([], ["the program ended"])


@pytest.mark.parametrize("block", ["with kernel:\n    ", "kernel.start(); "])
def test_a_ctrl_c_in_the_main_thread_stops_in_order_without_waiting_for_bodies(tmp_path: Path, block: str) -> None:
    rest = f"{block}kernel.trigger('hangs'); begun.wait(); os.kill(os.getpid(), signal.SIGINT); kernel.sleep(600)\n"
    done = run_program(tmp_path, rest, drain=600.0)

    assert done.returncode == -signal.SIGINT, done.stderr
    statuses, reasons = read_log(tmp_path)
    assert statuses == ["failed"]
    assert reasons == ["KeyboardInterrupt was raised" if "with" in block else "Ctrl-C"]


def test_what_was_acknowledged_is_in_the_log_of_a_program_that_died_without_a_word(tmp_path: Path) -> None:
    done = run_program(tmp_path, "kernel.start(); kernel.pause('waits'); kernel.trigger('hangs'); os._exit(9)\n")

    assert done.returncode == 9
    with BackgroundKernel(store=SqliteStore(tmp_path / "log.db"), keeps_time=False) as kernel:
        assert [run.job_id for run in kernel.executions(ExecutionQuery()).items] == ["hangs"]
        assert [event.job_id for event in kernel.events() if event.type == "job_paused"] == ["waits"]


def test_a_forked_child_is_told_that_it_has_no_kernel_and_the_parent_keeps_its_own(tmp_path: Path) -> None:
    rest = """
kernel.start()
reading, writing = os.pipe()
if (pid := os.fork()) == 0:
    from gnomon import GnomonError
    said = []
    for call in (kernel.jobs, kernel.start, kernel.shutdown):
        try:
            call()
        except GnomonError as exc:
            said.append(str(exc))
    os.write(writing, "\\n".join([str(kernel.is_running), *said]).encode())
    sys.exit(0)  # with the hooks for the end of the interpreter
os.close(writing)
said = os.fdopen(reading).read().splitlines()
assert os.waitpid(pid, 0)[1] == 0
assert said[0] == "False" and len(said) == 4, said
expected = f"the kernel runs in process {os.getpid()}, and this is process {pid}, which was forked"
assert all(expected in one for one in said[1:]), said
assert "post_worker_init" in said[1]
print(kernel.wait(kernel.trigger("waits").execution.id).return_value)
"""
    done = run_program(tmp_path, rest)

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert read_log(tmp_path) == (["success"], ["the program ended"])


def test_a_child_may_start_a_kernel_that_was_made_before_the_fork(tmp_path: Path) -> None:
    rest = """
if (pid := os.fork()) == 0:
    with kernel:
        kernel.wait(kernel.trigger("waits").execution.id)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""
    done = run_program(tmp_path, rest)

    assert done.returncode == 0, done.stderr
    assert read_log(tmp_path) == (["success"], ["it was closed"])
