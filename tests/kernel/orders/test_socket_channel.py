"""The socket of a log: only those with the right to may give orders, and no order is lost in silence."""

import asyncio
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from gnomon import GnomonError, Job, Kernel
from gnomon.domain.kernel_health import Health
from gnomon.domain.orders import Answer, Order
from gnomon.errors import NoLeaderError, OrderLostError
from gnomon.orders import listener, socket_channel
from gnomon.orders.calls import read_result
from gnomon.orders.serving import serving
from gnomon.orders.socket_channel import MAX_PATH_BYTES, SocketChannel
from gnomon.orders.submitting import submit_call, submit_extra
from gnomon.testing.order_channel_contract import Handler
from other_user import NOBODY, needs_second_user, start_as_nobody

LIMIT_S = 30.0
PAUSE = b'{"call":"pause","arguments":{"job_id":"waits"},"id":"1"}'


async def waits(n: int = 0) -> int:
    await asyncio.sleep(3600 if n == 0 else 0)
    return n


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[SocketChannel]:
    channel = SocketChannel(tmp_path / "gnomon.db")
    async with Kernel(jobs=[Job(id="waits", func=waits)]) as kernel, serving(kernel, channel, {}):
        yield channel


async def health_at(channel: SocketChannel) -> Health:
    return await submit_extra(channel, "health", Health, limit_s=LIMIT_S)


async def answer_to(content: bytes, path: Path) -> Answer:
    """Return the first frame with content that the kernel answers to one that no channel would send."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(len(content).to_bytes(4) + content)
    while not (length := int.from_bytes(await reader.readexactly(4))):
        pass
    answer = msgspec.json.decode(await reader.readexactly(length), type=Answer)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_the_socket_has_the_name_of_the_log(tmp_path: Path) -> None:
    channel = SocketChannel(tmp_path / "gnomon.db")

    async with channel.serve(Handler()):
        assert [one.name for one in tmp_path.iterdir()] == ["gnomon.db.sock"]
    assert list(tmp_path.iterdir()) == []


async def test_the_socket_of_a_killed_kernel_is_replaced(tmp_path: Path) -> None:
    channel = SocketChannel(tmp_path / "gnomon.db")
    server = await asyncio.start_unix_server(lambda _reader, _writer: None, channel.path)
    server.close()
    with pytest.raises(NoLeaderError):
        await channel.submit(Order("health"), 0)

    async with Kernel() as kernel, serving(kernel, channel, {}):
        assert (await health_at(channel)).running == 0

    assert not channel.path.exists()


async def test_the_socket_of_a_kernel_that_came_in_between_stays(tmp_path: Path) -> None:
    """As where the log was replaced, and another kernel leads the new one."""
    first, second = SocketChannel(tmp_path / "gnomon.db"), SocketChannel(tmp_path / "gnomon.db")
    async with Kernel() as kernel:
        ending = serving(kernel, first, {})
        await ending.__aenter__()
        async with serving(kernel, second, {}):
            await ending.__aexit__(None, None, None)
            assert (await health_at(second)).running == 0


async def test_a_kernel_works_without_its_socket(tmp_path: Path) -> None:
    channel = SocketChannel(tmp_path / "no such folder" / "gnomon.db")

    async with Kernel() as kernel, serving(kernel, channel, {}):
        assert kernel.health().state == "healthy"


async def test_without_a_kernel_an_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        NoLeaderError, match=r"no kernel leads this log \(nothing listens at .*gnomon.db.sock\), so nothing was"
    ):
        await SocketChannel(tmp_path / "gnomon.db").submit(Order("health"), 0)


# --- a file that is removed or replaced ---


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - a file changes it
            await asyncio.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "LOOK_S", 0.01)


@pytest.mark.usefixtures("quick")
async def test_a_socket_that_was_removed_is_made_again(channel: SocketChannel) -> None:
    for _ in range(3):
        channel.path.unlink()
        assert (await health_at(channel)).running == 0  # an order waits until it is there
    assert stat.S_IMODE(channel.path.stat().st_mode) == 0o600


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("when", ["at the start", "later"])
async def test_what_is_in_the_place_of_the_socket_is_named_and_stays(tmp_path: Path, when: str) -> None:
    channel, handler = SocketChannel(tmp_path / "gnomon.db"), Handler()
    handler.release.set()
    if when == "at the start":
        channel.path.write_text("kept")
    async with channel.serve(handler):
        if when == "later":
            channel.path.unlink()
            channel.path.write_text("kept")
        await until(lambda: channel.problem is not None)
        problem = channel.problem
        assert channel.path.read_text() == "kept"
        channel.path.unlink()
        await channel.submit(Order("health"), LIMIT_S)
        await until(lambda: channel.problem is None)

    assert problem == f"{channel.path} is not a socket, so orders do not reach this kernel: remove it"
    assert not channel.path.exists()


@pytest.mark.usefixtures("quick")
async def test_the_socket_of_a_kernel_whose_log_came_to_the_path_is_not_taken_from_it(tmp_path: Path) -> None:
    deposed, leading = SocketChannel(tmp_path / "gnomon.db"), SocketChannel(tmp_path / "gnomon.db")
    first, second = Handler(), Handler()
    second.release.set()
    async with deposed.serve(first), leading.serve(second):
        await until(lambda: deposed.problem is not None)
        await leading.submit(Order("health"), LIMIT_S)
        assert deposed.problem == f"another process listens at {leading.path}, so orders do not reach this kernel"
        assert leading.problem is None

    assert (len(first.received), len(second.received)) == (0, 1)
    assert not leading.path.exists()


@pytest.mark.usefixtures("quick")
async def test_orders_wait_while_no_file_descriptor_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, handler = SocketChannel(tmp_path / "gnomon.db"), Handler()
    handler.release.set()
    loop = asyncio.get_running_loop()
    accept, tries = loop.sock_accept, 0

    async def accept_later(listening: socket.socket) -> tuple[socket.socket, object]:
        nonlocal tries
        connection, address = await accept(listening)
        tries += 1
        if tries > 3:
            return connection, address
        connection.close()  # the sender tries again
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(loop, "sock_accept", accept_later)
    problems: list[str | None] = []
    with capture_logs() as logged:
        async with channel.serve(handler):
            sending = asyncio.create_task(channel.submit(Order("health"), LIMIT_S))
            while not sending.done():
                problems.append(channel.problem)
                await asyncio.sleep(0)
            await sending
            assert channel.problem is None

    assert "orders wait, because no connection can be accepted: Too many open files" in problems
    assert [line["event"] for line in logged] == ["orders wait: no connection can be accepted"]
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


# --- kernels that end or hang ---


async def test_an_order_that_a_dying_kernel_never_read_goes_to_the_next_one(tmp_path: Path) -> None:
    channel, handler = SocketChannel(tmp_path / "gnomon.db"), Handler()
    handler.release.set()
    dying = socket.socket(socket.AF_UNIX)
    dying.bind(os.fspath(channel.path))
    dying.listen()
    dying.setblocking(False)
    sending = asyncio.create_task(channel.submit(Order("pause"), LIMIT_S))
    connection, _ = await asyncio.get_running_loop().sock_accept(dying)
    dying.close()
    connection.close()

    async with channel.serve(handler):
        await sending

    assert len(handler.received) == 1


async def test_an_order_that_a_killed_kernel_had_received_may_have_been_carried_out(tmp_path: Path) -> None:
    program = """
    import asyncio, sys
    from pathlib import Path
    from gnomon.orders.socket_channel import SocketChannel

    async def hangs(order):
        print("received", flush=True)
        await asyncio.Event().wait()

    async def main():
        async with SocketChannel(Path(sys.argv[1])).serve(hangs):
            print("serving", flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
    """
    channel = SocketChannel(tmp_path / "gnomon.db")
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "gnomon.db")]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"serving\n"
    sending = asyncio.create_task(channel.submit(Order("pause"), LIMIT_S))
    assert await process.stdout.readline() == b"received\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()

    with pytest.raises(
        OrderLostError, match="received the order 'pause' and ended before it had answered; the order may"
    ):
        await sending


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such an order may have been carried out")
async def test_what_a_hung_kernel_has_not_read_is_not_carried_out_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_channel, "SILENCE_LIMIT_S", 0.1)
    channel, handler = SocketChannel(tmp_path / "gnomon.db"), Handler()
    handler.release.set()
    hung = socket.socket(socket.AF_UNIX)
    hung.bind(os.fspath(channel.path))
    hung.listen()
    with pytest.raises(NoLeaderError, match=r"has been silent for 0\.1 s"):
        await channel.submit(Order("pause"), 0)

    with capture_logs():
        server = socket_channel._Server(handler)
        hung.setblocking(False)
        connection, _ = await asyncio.get_running_loop().sock_accept(hung)
        await server.serve(*await asyncio.open_unix_connection(sock=connection))
    hung.close()

    assert handler.received == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells that a process is stopped")
async def test_a_stopped_kernel_is_named_at_once_and_never_carries_the_order_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_channel, "LOOK_S", 0.05)
    channel = SocketChannel(tmp_path / "gnomon.db", lambda: "process 7 on far")
    code = (
        f"import signal, socket, os; s = socket.socket(socket.AF_UNIX); s.bind({os.fspath(channel.path)!r}); s.listen()"
    )
    stopped = subprocess.Popen([sys.executable, "-c", f"{code}; os.kill(os.getpid(), signal.SIGSTOP)"])
    try:
        os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
        with pytest.raises(NoLeaderError, match=r"process 7 on far has this log.*is stopped \(SIGSTOP\)"):
            await channel.submit(Order("pause"), LIMIT_S)
    finally:
        stopped.kill()
        stopped.wait()


async def test_an_order_that_takes_long_has_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_channel, "SIGN_OF_LIFE_S", 0.01)
    channel, handler = SocketChannel(tmp_path / "gnomon.db"), Handler()
    async with channel.serve(handler):
        reader, writer = await asyncio.open_unix_connection(channel.path)
        writer.write(len(PAUSE).to_bytes(4) + PAUSE)
        assert await reader.readexactly(4 * 5) == bytes(4 * 5)
        handler.release.set()
        while not (length := int.from_bytes(await reader.readexactly(4))):
            pass
        assert b'"waits"' in await reader.readexactly(length)
        writer.close()


async def test_a_kernel_that_stops_answers_what_it_has_received(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_channel, "STOP_LIMIT_S", 60.0)
    channel, handler = SocketChannel(tmp_path / "gnomon.db"), Handler()
    async with channel.serve(handler):
        sending = asyncio.create_task(channel.submit(Order("pause"), LIMIT_S))
        await handler.has_received(1)
        asyncio.get_running_loop().call_later(0.1, handler.release.set)

    assert await sending == Answer(Order("pause").arguments)
    assert handler.cancelled == []


# --- what is not an order ---


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"call":"format_disk"}', "does not know the order 'format_disk'"),
        (b'{"call":"__init__"}', "does not know the order '__init__'"),
        (b'{"call":"sleep","arguments":{"seconds":1}}', "does not know the order 'sleep'"),
        (b'{"call":"pause","arguments":{"job_id":1}}', "the order 'pause' is not valid: Expected `str`, got `int`"),
        (
            b'{"call":"pause","arguments":{"job_id":"waits","force":1}}',
            "has a parameter that this version does not know: force",
        ),
        (b'{"call":"pause","arguments":{}}', "the order is not valid: missing a required argument: 'job_id'"),
        (b'{"call":"pause"', "the order is not valid: Input data was truncated"),
        (b"\xff", "the order is not valid"),
        (b"[]", "the order is not valid: Expected `object`, got `array`"),
    ],
)
async def test_what_is_not_an_order_is_refused(channel: SocketChannel, content: bytes, problem: str) -> None:
    with pytest.raises(GnomonError) as caught:
        read_result(await answer_to(content, channel.path), bool)

    assert problem in str(caught.value)


@pytest.mark.parametrize("levels", [100, 970, 100_000])
async def test_an_order_that_nests_too_deeply_is_refused(channel: SocketChannel, levels: int) -> None:
    kwargs = b"[" * levels + b"]" * levels
    content = b'{"call":"trigger","arguments":{"job_id":"waits","kwargs":{"n":%b}}}' % kwargs

    answer = await answer_to(content, channel.path)

    assert answer.error is not None
    assert "nested deeper than 64 levels" in answer.error.message


async def test_an_order_that_is_too_long_is_refused(channel: SocketChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_channel, "MAX_ORDER_BYTES", 100)

    with pytest.raises(GnomonError, match=r"the order has [\d,]+ bytes; at most 100 are accepted"):
        await submit_call(channel, "pause", "x" * 1000, limit_s=LIMIT_S)


# --- where the socket is ---


@pytest.mark.skipif(sys.platform != "linux", reason="/proc shortens the path")
async def test_the_socket_is_beside_the_log_however_long_its_path_is(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * MAX_PATH_BYTES)
    deep.mkdir()
    channel = SocketChannel(deep / "prod.db")

    assert channel.path == deep / "prod.db.sock"
    async with Kernel() as kernel, serving(kernel, channel, {}):
        assert (await health_at(channel)).running == 0
    assert list(deep.iterdir()) == []


async def test_no_socket_is_in_a_folder_that_other_users_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user could listen there instead, because the name can be guessed."""
    shared, runtime = tmp_path / "shared", tmp_path / "runtime"
    shared.mkdir()
    shared.chmod(0o1777)
    runtime.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))

    channel = SocketChannel(shared / "prod.db")

    assert channel.path.parent == runtime
    assert SocketChannel(shared / "gnomon.db").path != channel.path
    async with Kernel() as kernel, serving(kernel, channel, {}):
        assert (await health_at(channel)).running == 0


async def test_a_kernel_without_a_place_for_its_socket_reports_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    channel = SocketChannel(tmp_path / "gnomon.db")

    with capture_logs() as logged:
        async with Kernel() as kernel, serving(kernel, channel, {}):
            assert not channel.path.exists()

    assert "can be changed by every user" in next(one["problem"] for one in logged if "problem" in one)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277])
async def test_only_the_owner_may_use_the_socket_whatever_the_umask_is(tmp_path: Path, mask: int) -> None:
    channel = SocketChannel(tmp_path / "gnomon.db")
    async with Kernel() as kernel:
        before = os.umask(mask)
        try:
            async with serving(kernel, channel, {}):
                assert stat.S_IMODE(channel.path.stat().st_mode) == 0o600
        finally:
            os.umask(before)


# --- other users of the machine ---

LISTEN = """
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
server.listen()
print("listening", flush=True)
connection, _ = server.accept()
connection.settimeout(60)
print(connection.recv(1000)[4:].decode() or "nothing", flush=True)
"""
COMMAND = """
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
content = b'{"call":"pause","arguments":{"job_id":"waits"}}'
connection.sendall(len(content).to_bytes(4) + content)
answer = connection.makefile("rb")
print(answer.read(int.from_bytes(answer.read(4))).decode(), flush=True)
"""


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that all users may use: pytest's own is private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


async def test_an_order_is_not_sent_to_the_socket_of_another_user(shared_folder: Path) -> None:
    channel = SocketChannel(shared_folder / "gnomon.db")
    path = shared_folder / "gnomon.db.sock"
    with start_as_nobody(LISTEN, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        with pytest.raises(GnomonError, match=f"belongs to the user with uid {NOBODY}.*the order was not sent"):
            await submit_call(channel, "pause", "waits", limit_s=0)
        assert await asyncio.to_thread(process.stdout.readline) == "nothing\n"


async def test_root_gives_orders_to_a_kernel_of_the_owner_of_its_folder(shared_folder: Path) -> None:
    channel = SocketChannel(shared_folder / "gnomon.db")
    path = shared_folder / "gnomon.db.sock"
    needs_second_user()
    os.chown(shared_folder, NOBODY, NOBODY)
    with start_as_nobody(LISTEN, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        with pytest.raises(NoLeaderError, match="nothing listens"):
            await submit_call(channel, "pause", "waits", limit_s=0)
        assert '"waits"' in await asyncio.to_thread(process.stdout.readline)


async def test_an_order_of_another_user_is_refused(shared_folder: Path) -> None:
    shared_folder.chmod(0o755)  # there is no socket where others can write
    channel = SocketChannel(shared_folder / "gnomon.db")
    path = shared_folder / "gnomon.db.sock"
    async with Kernel(jobs=[Job(id="waits", func=waits)]) as kernel, serving(kernel, channel, {}):
        path.chmod(0o777)  # as a careless administrator would
        process = start_as_nobody(COMMAND, path)
        output, errors = await asyncio.to_thread(process.communicate)
        job = await kernel.job("waits")

    assert "orders are for the kernel's own user" in output, errors
    assert not job.state.paused


async def test_a_connection_without_an_order_is_closed_in_silence_at_the_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As that of a follower that watches: Python 3.11 logs handlers that were cancelled as errors."""
    channel, handler = SocketChannel(tmp_path / "gnomon.db"), Handler()
    handler.release.set()
    async with channel.serve(handler):
        reader, writer = await asyncio.open_unix_connection(channel.path)
        await channel.submit(Order("health"), LIMIT_S)  # so the other connection is served, too
    with pytest.raises((EOFError, ConnectionError)):
        await reader.readexactly(1)
    writer.close()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
