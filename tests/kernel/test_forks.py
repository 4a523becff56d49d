"""Forked children of a process with a kernel: they hold nothing, hang nowhere and harm nobody."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from gnomon.domain.events import Event
from gnomon_process import PATIENCE
from gnomon_sqlite import SqliteStore

START = """
import asyncio, os, signal, sqlite3, sys, threading
from gnomon import BackgroundKernel, ForkedProcessError, GnomonError, Job, Kernel
from gnomon.domain.records import ExecutionQuery
from gnomon_sqlite import SqliteStore

def work():
    return "done"

async def work_on_loop():
    return "done"

JOBS = [Job(id="work", func=work), Job(id="on-loop", func=work_on_loop)]

def expect_refusal(call, parent):
    try:
        call()
    except ForkedProcessError as exc:
        said = str(exc)
        assert exc.parent == parent, exc.parent
        assert f"runs in process {parent}, and this is process {os.getpid()}, which was forked from it" in said, said
        assert "post_worker_init" in said and "lifespan" in said, said
    else:
        raise AssertionError("it was answered")

def end_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def run_program(folder: Path, program: str) -> str:
    """Run a program in a folder, and return what it has printed; it must end well."""
    (folder / "program.py").write_text(START + textwrap.dedent(program))
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "program.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


async def events_of(folder: Path) -> list[Event]:
    store = SqliteStore(folder / "log.db")
    await store.open(read_only=True)
    try:
        return await store.read()
    finally:
        await store.close()


async def test_a_child_of_a_running_kernel_is_refused_everything_and_the_parent_goes_on(tmp_path: Path) -> None:
    program = """
    async def main():
        async with Kernel(store=SqliteStore("log.db"), jobs=JOBS) as kernel:
            parent = os.getpid()
            if (pid := os.fork()) == 0:
                for question in (
                    kernel.jobs, lambda: kernel.trigger("work"), lambda: kernel.executions(ExecutionQuery()),
                    lambda: kernel.pause("work"), lambda: kernel.wait("x"), lambda: kernel.add_plugin(object()),
                    kernel.__aenter__, lambda: kernel._store.head(), kernel._store.open,
                ):
                    expect_refusal(lambda: question().send(None), parent)
                expect_refusal(kernel.health, parent)
                expect_refusal(lambda: kernel.add(work), parent)
                sys.exit(7)  # through the block of the kernel, and the end of its loop
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, end_of, pid) == 7
            for job in ("work", "on-loop"):
                run = await kernel.wait((await kernel.trigger(job)).execution.id)
                print(run.return_value)

    asyncio.run(main())
    """
    printed = run_program(tmp_path, program)

    assert printed == "done\ndone\n"
    types = [event.type for event in await events_of(tmp_path)]
    assert types.count("kernel_started") == types.count("kernel_stopped") == 1


async def test_a_child_that_returns_from_the_block_of_the_kernel_writes_nothing(tmp_path: Path) -> None:
    program = """
    async def main():
        jobs = [Job(id="often", func=work, every="50ms")]
        async with Kernel(store=SqliteStore("log.db"), jobs=jobs) as kernel:
            if (pid := os.fork()) == 0:
                return
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, end_of, pid) == 0
            head = len(await kernel.events())
            while len(await kernel.events()) < head + 6:
                await asyncio.sleep(0.05)

    asyncio.run(main())
    """
    run_program(tmp_path, program)

    events = await events_of(tmp_path)
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "kernel_stopped"


async def test_a_kernel_that_is_made_before_a_fork_is_another_one_in_each_process(tmp_path: Path) -> None:
    program = """
    kernel = Kernel(store=SqliteStore("log.db"), jobs=JOBS)

    async def main():
        async with kernel:
            await kernel.wait((await kernel.trigger("work")).execution.id)

    for _ in range(2):
        if (pid := os.fork()) == 0:
            asyncio.run(main())
            os._exit(0)
        assert end_of(pid) == 0
    asyncio.run(main())
    """
    run_program(tmp_path, program)

    started = [event for event in await events_of(tmp_path) if event.type == "kernel_started"]
    assert len({event.stream for event in started}) == 3


async def test_a_child_neither_uses_nor_closes_the_connections_of_its_parent(tmp_path: Path) -> None:
    program = """
    from gnomon.testing.histories import append, scheduled

    async def opens(path, read_only):
        store = SqliteStore(path)
        await store.open(read_only=read_only)
        await store.close()

    async def main():
        async with SqliteStore("log.db") as store:
            await append(store, scheduled())
            parent = os.getpid()
            if (pid := os.fork()) == 0:
                expect_refusal(lambda: asyncio.run(store.head()), parent)
                expect_refusal(lambda: asyncio.run(append(store, scheduled())), parent)
                for read_only in (True, False):
                    expect_refusal(lambda: asyncio.run(opens("log.db", read_only)), parent)
                asyncio.run(store.close())
                asyncio.run(opens("other.db", False))
                sys.exit(0)
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, end_of, pid) == 0
            assert os.path.getsize("log.db-wal") > 0 and os.path.getsize("log.db.lock") > 0
            await append(store, scheduled("other"))
            print(await store.head())

    asyncio.run(main())
    print(sqlite3.connect("log.db").execute("PRAGMA integrity_check").fetchone()[0])
    """
    assert run_program(tmp_path, program) == "2\nok\n"


def test_children_of_a_busy_kernel_that_logs_hang_nowhere(tmp_path: Path) -> None:
    program = """
    import logging, structlog

    stream = open("lines.log", "w")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(stream))
    logging.basicConfig(stream=stream, level=logging.INFO)

    def logs():
        logging.getLogger("jobs").info("a line of logging")
        structlog.get_logger().info("a line of structlog")

    kernel = BackgroundKernel(store=SqliteStore("log.db"), jobs=[Job(id="logs", func=logs)]).start()
    is_over = threading.Event()

    def trigger():
        while not is_over.is_set():
            kernel.wait(kernel.trigger("logs").execution.id)

    threads = [threading.Thread(target=trigger) for _ in range(4)]
    for thread in threads:
        thread.start()
    ends = []
    for _ in range(150):
        if (pid := os.fork()) == 0:
            signal.alarm(10)  # ends a child that hangs
            connection = sqlite3.connect(f"child-{os.getpid()}.db")
            connection.execute("CREATE TABLE numbers (number)")
            connection.close()
            logging.getLogger("child").info("a line of logging")
            structlog.get_logger().info("a line of structlog")
            expect_refusal(kernel.jobs, os.getppid())
            expect_refusal(kernel.start, os.getppid())
            os._exit(0)
        ends.append(end_of(pid))
    is_over.set()
    for thread in threads:
        thread.join()
    kernel.shutdown()
    print(set(ends))
    """
    assert run_program(tmp_path, program) == "{0}\n"


def test_a_child_does_not_listen_on_the_sockets_of_its_parent(tmp_path: Path) -> None:
    program = """
    import socket
    from pathlib import Path
    from gnomon.domain.kernel_health import Health
    from gnomon.orders.submitting import submit_extra
    from gnomon_web import WebPlugin

    path = Path("log.db.sock").resolve()

    def listeners():
        found = 0
        for file in range(3, 200):
            try:
                with socket.socket(fileno=os.dup(file)) as one:
                    found += one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            except OSError:
                pass
        return found

    async def main():
        web = WebPlugin(WebPlugin.Config(port=0))
        store = SqliteStore("log.db")
        async with Kernel(store=store, plugins={"web": web}):
            assert listeners() == 2
            if (pid := os.fork()) == 0:
                sys.exit(listeners())
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, end_of, pid) == 0
            assert path.is_socket()
            health = await submit_extra(store.orders(), "health", Health, limit_s=0)
            print(health.store_state)

    asyncio.run(main())
    """
    assert run_program(tmp_path, program) == "healthy\n"


def test_a_stop_signal_to_a_child_ends_the_child_alone(tmp_path: Path) -> None:
    program = """
    from gnomon.cli.input.stop_signals import StopSignals

    async def main():
        requested = asyncio.Event()
        async with Kernel(store=SqliteStore("log.db"), jobs=JOBS):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, requested.set)
            with StopSignals(requested.set, lambda: None) as signals:
                for number in (signal.SIGTERM, signal.SIGHUP):
                    ready, write_ready = os.pipe()
                    wait, is_sent = os.pipe()
                    if (pid := os.fork()) == 0:
                        os.close(is_sent)
                        os.write(write_ready, b"ready")
                        os.read(wait, 1)  # until the parent closes its end
                        os._exit(0)
                    assert os.read(ready, 5) == b"ready"
                    os.kill(pid, number)
                    os.close(is_sent)
                    expected = -number if number == signal.SIGTERM else 0  # the loop's handler of SIGHUP does nothing
                    assert await loop.run_in_executor(None, end_of, pid) in {expected, 0}
                await asyncio.sleep(0)
                assert signals.first is None and not requested.is_set()

    asyncio.run(main())
    """
    run_program(tmp_path, program)
