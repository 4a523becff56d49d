"""The control socket: commands reach a running kernel, and errors come back whole."""

import asyncio
import os
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import ConfigError, GnomonError, Job, Kernel
from gnomon.control_socket import (
    MAX_PATH_BYTES,
    Cancel,
    Command,
    GetHealth,
    NoKernelError,
    Pause,
    ReloadJobs,
    Resume,
    Trigger,
    control_path,
    listening,
    send,
)
from gnomon.deployment.config import Config
from other_user import NOBODY, needs_second_user, start_as_nobody


async def waits(n: int = 0) -> int:
    await asyncio.sleep(3600 if n == 0 else 0)
    return n


async def reload() -> Any:
    raise ConfigError(["jobs[0]: unknown key 'cronn'", "jobs[1]: no func"])


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    socket = tmp_path / "gnomon.sock"
    async with Kernel(jobs=[Job(id="waits", func=waits)]) as kernel, listening(kernel, socket, reload):
        yield socket


async def ask(command: Command, path: Path) -> Any:
    return await asyncio.to_thread(send, command, path)


async def test_a_job_is_paused_and_resumed(path: Path) -> None:
    assert await ask(Pause("waits", actor="me", reason="maintenance"), path) is True
    assert await ask(Pause("waits"), path) is False
    assert await ask(Resume("waits"), path) is True


async def test_a_run_is_triggered_and_cancelled(path: Path) -> None:
    triggered = await ask(Trigger("waits", actor="me"), path)
    execution = triggered["execution"]
    cancelled = await ask(Cancel(execution["id"], actor="me", reason="enough"), path)

    assert execution["actor"] == "me"
    assert cancelled["cancel_requested"] is True


async def test_a_repeated_request_makes_one_run(path: Path) -> None:
    first = await ask(Trigger("waits", kwargs={"n": 1}, idempotency_key="k"), path)
    second = await ask(Trigger("waits", kwargs={"n": 1}, idempotency_key="k"), path)

    assert second["execution"]["id"] == first["execution"]["id"]
    assert (first["is_new"], second["is_new"]) == (True, False)


async def test_health_is_returned(path: Path) -> None:
    health = await ask(GetHealth(), path)

    assert (health["state"], health["store"]) == ("healthy", "memory")


async def test_an_error_comes_back_with_its_message(path: Path) -> None:
    with pytest.raises(GnomonError, match="there is no job 'wait'; did you mean 'waits'"):
        await ask(Pause("wait"), path)


async def test_problems_of_a_reload_come_back_one_by_one(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        await ask(ReloadJobs(), path)

    assert caught.value.problems == ["jobs[0]: unknown key 'cronn'", "jobs[1]: no func"]


async def test_an_unknown_command_is_refused(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"type": "format_disk"}\n')

    answer = await reader.readline()

    assert b"format_disk" in answer
    writer.close()


async def test_the_socket_of_a_killed_kernel_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.sock"
    async with Kernel() as kernel:
        server = await asyncio.start_unix_server(lambda _reader, _writer: None, path)
        server.close()

        async with listening(kernel, path, reload):
            assert (await ask(GetHealth(), path))["running"] == 0

    assert not path.exists()


async def test_a_kernel_works_without_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "no such folder" / "gnomon.sock"

    async with Kernel() as kernel, listening(kernel, path, reload):
        assert kernel.health().state == "healthy"


def test_a_command_without_a_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoKernelError, match="no kernel is running for this deployment"):
        send(GetHealth(), tmp_path / "gnomon.sock")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc shortens the path")
async def test_the_socket_is_beside_the_config_however_long_its_path_is(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * MAX_PATH_BYTES)
    deep.mkdir()
    path = control_path(Config(source=deep / "prod.toml", directory=deep))

    assert path == deep / "prod.sock"
    async with Kernel() as kernel, listening(kernel, path, reload):
        assert (await ask(GetHealth(), path))["running"] == 0
    assert list(deep.iterdir()) == []


async def test_no_socket_is_in_a_folder_that_other_users_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user could listen there instead, because the name can be guessed."""
    shared, runtime = tmp_path / "shared", tmp_path / "runtime"
    shared.mkdir()
    shared.chmod(0o1777)
    runtime.mkdir(0o700)
    config = Config(source=shared / "prod.toml", directory=shared)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))

    path = control_path(config)

    assert path.parent == runtime
    assert control_path(Config(directory=shared)) != path
    async with Kernel() as kernel, listening(kernel, path, reload):
        assert (await ask(GetHealth(), path))["running"] == 0


async def test_a_kernel_without_a_place_for_its_socket_reports_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    path = control_path(Config(directory=tmp_path))

    with capture_logs() as logged:
        async with Kernel() as kernel, listening(kernel, path, reload):
            assert not path.exists()

    assert "can be changed by every user" in next(one["problem"] for one in logged if "problem" in one)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277])
async def test_only_the_owner_may_use_the_socket_whatever_the_umask_is(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "gnomon.sock"
    async with Kernel() as kernel:
        before = os.umask(mask)
        try:
            async with listening(kernel, path, reload):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
        finally:
            os.umask(before)


@pytest.mark.parametrize("levels", [64, 970, 100_000])
async def test_a_command_that_nests_too_deeply_is_refused(path: Path, levels: int) -> None:
    line = b'{"type":"trigger","job_id":"waits","kwargs":{"n":%b}}\n' % (b"[" * levels + b"]" * levels)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()

    assert b"nested deeper than 64 levels" in answer


# --- other users of the machine ---

LISTEN = """
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
server.listen()
print("listening", flush=True)
connection, _ = server.accept()
connection.settimeout(60)
print(connection.recv(1000).decode() or "nothing", flush=True)
"""
COMMAND = """
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(b'{"type": "pause", "job_id": "waits"}\\n')
print(connection.makefile().readline(), flush=True)
"""


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that all users may use: pytest's own is private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


async def test_a_command_is_not_sent_to_the_socket_of_another_user(shared_folder: Path) -> None:
    path = shared_folder / "gnomon.sock"
    with start_as_nobody(LISTEN, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        with pytest.raises(GnomonError, match=f"belongs to the user with uid {NOBODY}.*the command was not sent"):
            await ask(Pause("waits"), path)
        assert process.stdout.readline() == "nothing\n"


async def test_root_sends_commands_to_a_kernel_of_the_owner_of_its_folder(shared_folder: Path) -> None:
    path = shared_folder / "gnomon.sock"
    needs_second_user()
    os.chown(shared_folder, NOBODY, NOBODY)
    with start_as_nobody(LISTEN, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        with pytest.raises(GnomonError, match="closed the connection"):
            await ask(Pause("waits"), path)
        assert '"waits"' in process.stdout.readline()


async def test_a_command_of_another_user_is_refused(shared_folder: Path) -> None:
    shared_folder.chmod(0o755)  # there is no socket where others can write
    path = shared_folder / "gnomon.sock"
    async with Kernel(jobs=[Job(id="waits", func=waits)]) as kernel, listening(kernel, path, reload):
        path.chmod(0o777)  # as a careless administrator would
        process = start_as_nobody(COMMAND, path)
        output, errors = await asyncio.to_thread(process.communicate)
        job = await kernel.job("waits")

    assert "commands are for the kernel's own user" in output, errors
    assert not job.state.paused
