"""The control socket, through which commands on the same machine talk to a running kernel.

It is a Unix socket beside the config file that only its owner can open. Where other users may write that folder, one of
them could listen there instead, so the socket is in the runtime folder of the user. Each connection carries one command
and one answer, each a JSON object on one line.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from gnomon.deployment.config import Config
from gnomon.domain.job_order import JobOrder
from gnomon.durations import encode_hook
from gnomon.errors import ConfigError, GnomonError, JobKeysError, JobOrdersError
from gnomon.files import other_writers
from gnomon.forks import closed_in_children
from gnomon.json_depth import MAX_DEPTH, is_text_too_deep
from gnomon.kernel import Kernel
from gnomon.logs import get_logger
from gnomon.wire.operator_commands import (
    CancelRuns,
    OperatorCommand,
    PauseJobs,
    SetHeld,
    Skip,
    StartBackfill,
    StopBackfill,
)

log = get_logger("gnomon.control_socket")

MAX_PATH_BYTES = 100
"""Length of a socket's path that every system accepts (the limit is 104 on macOS, 108 on Linux)."""
MAX_LINE_BYTES = 1024 * 1024
ANSWER_TIMEOUT_S = 30.0
"""Time that a command waits for its answer; while the store is unavailable, the kernel waits too."""

_HAS_PROC = sys.platform == "linux"

Reload = Callable[[], Awaitable[Any]]


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    """Hold back a job's fires."""

    job_id: str
    actor: str | None = None
    reason: str | None = None


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    """Resume the fires of a job."""

    job_id: str
    actor: str | None = None
    reason: str | None = None


class Trigger(msgspec.Struct, frozen=True, tag="trigger"):
    """Run a job now, once."""

    job_id: str
    kwargs: dict[str, Any] = {}
    labels: dict[str, str] = {}
    force: bool = False
    resume: bool = True
    actor: str | None = None
    idempotency_key: str | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Request that a run stops."""

    execution_id: str
    actor: str | None = None
    reason: str | None = None


class OrderJob(msgspec.Struct, frozen=True, tag="order_job"):
    """Add, replace, change or remove a job. Its sender is the kernel's own user, who may name any function."""

    order: JobOrder
    actor: str | None = None
    reason: str | None = None
    idempotency_key: str | None = None


class OrderJobs(msgspec.Struct, frozen=True, tag="order_jobs"):
    """Add many jobs by their keys, all or none. Its sender may name any function, as that of OrderJob."""

    jobs: list[dict[str, Any]]
    owner: str | None = None
    actor: str | None = None
    reason: str | None = None


class PreviewJob(msgspec.Struct, frozen=True, tag="preview_job"):
    """Return what the keys of a job would do."""

    keys: dict[str, Any]


class ReloadJobs(msgspec.Struct, frozen=True, tag="reload"):
    """Read the config again and apply the changes."""


class GetHealth(msgspec.Struct, frozen=True, tag="health"):
    """Return the kernel's health."""


JobCommand = OrderJob | OrderJobs | PreviewJob | ReloadJobs
Command = Pause | Resume | Trigger | Cancel | OperatorCommand | JobCommand | GetHealth


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a command: a result, or an error with its problems."""

    result: Any = None
    error: str | None = None
    error_type: str | None = None
    problems: list[str] = []


class NoKernelError(GnomonError):
    """No kernel is running for this deployment. Start one with `gnomon run`."""


_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_answers = msgspec.json.Decoder(Answer)


def control_path(config: Config) -> Path:
    """Return the path of the socket: beside the config file, or in the user's runtime folder where others may write."""
    name = config.source.stem if config.source is not None else "gnomon"
    path = config.directory / f"{name}.sock"
    if (_is_short(path) or _HAS_PROC) and not other_writers(path.parent):
        return path
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    return next((folder / f"gnomon-{digest}.sock" for folder in _private_folders()), path)


def _private_folders() -> Iterator[Path]:
    """Yield folders for sockets that no other user can write; on macOS the temporary folder is one."""
    for place in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if (
            place
            and os.access(place, os.W_OK)
            and Path(place).stat().st_uid == os.geteuid()
            and not other_writers(Path(place))
        ):
            yield Path(place)


def _is_short(path: Path) -> bool:
    return len(os.fsencode(path)) <= MAX_PATH_BYTES


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield the address of a socket; a path that is too long for one is given relative to its open folder."""
    if _is_short(path):
        yield os.fspath(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def send(command: Command, path: Path, limit_s: float = ANSWER_TIMEOUT_S) -> Any:
    """Send a command to the kernel that listens at the path, and return its result.

    Raise NoKernelError if no kernel listens, or GnomonError or ConfigError with the error of the kernel.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(limit_s)
        try:
            with _address(path) as address:
                connection.connect(address)
            _expect_own_kernel(connection, path)
            connection.sendall(msgspec.json.encode(command) + b"\n")
            line = connection.makefile("rb").readline()
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise NoKernelError(
                f"no kernel is running for this deployment (nothing listens at {path}); start it with `gnomon run`"
            ) from exc
        except OSError as exc:
            raise GnomonError(f"the kernel at {path} did not answer: {exc}") from exc
    if not line:
        raise GnomonError(f"the kernel at {path} closed the connection: it is stopping")
    answer = _answers.decode(line)
    if answer.problems:
        raise ConfigError(answer.problems)
    if answer.error is not None:
        raise GnomonError(answer.error)
    return answer.result


@asynccontextmanager
async def listening(kernel: Kernel, path: Path, reload: Reload) -> AsyncIterator[None]:
    """Answer commands while the block runs; `reload` handles the command of that name.

    A kernel works without its socket: if it cannot listen, only a warning is logged.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            refusal = _refusal(writer.get_extra_info("socket"))
            if line := await reader.readline():
                answer = refusal or await _answer(kernel, line, reload)
                writer.write(msgspec.json.encode(answer, enc_hook=_encode) + b"\n")
                await writer.drain()
        writer.close()

    process = os.getpid()
    try:
        listener = _bind(path)
        server = await asyncio.start_unix_server(serve, sock=listener, limit=MAX_LINE_BYTES)
    except OSError as exc:
        log.warning("no control socket: commands cannot reach this kernel", path=str(path), problem=str(exc))
        yield
        return
    try:
        with closed_in_children(listener.fileno()):
            yield
    finally:
        if os.getpid() == process:  # else the socket is that of the parent
            server.close()
            await server.wait_closed()
            path.unlink(missing_ok=True)  # noqa: ASYNC240 - once, at the end


def _peer_uid(connection: socket.socket) -> int | None:
    """Return the user id of the process at the other end of a Unix socket; None on systems that do not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def _expect_own_kernel(connection: socket.socket, path: Path) -> None:
    """Raise GnomonError if another user listens: it would receive the command, and could answer anything.

    The kernel of the deployment runs as this user, as root, or as the owner of the socket's folder, for whom root may
    act.
    """
    uid, own = _peer_uid(connection), os.geteuid()
    trusted = {0, own, path.parent.stat().st_uid} if own == 0 else {0, own}
    if uid is not None and uid not in trusted:
        raise GnomonError(
            f"the socket {path} belongs to the user with uid {uid}, and you are uid {own}: the command was not sent, "
            "because another user listens there; run it as the user of the kernel, or remove the socket"
        )


def _refusal(connection: Any) -> Answer | None:
    """Return the answer to a process of another user, for which the mode of the socket's file should be a barrier."""
    uid = _peer_uid(connection)
    if uid is None or uid in {0, os.geteuid()}:
        return None
    error = f"commands are for the kernel's own user (uid {os.geteuid()}) and root; this one comes from uid {uid}"
    log.warning("a command of another user was refused", uid=uid)
    return Answer(error=error, error_type=GnomonError.__name__)


def _bind(path: Path) -> socket.socket:
    """Return a socket at the path that only its owner can open, from the first moment on and whatever the umask is."""
    if problem := other_writers(path.parent):
        advice = "move the config to another folder, or set XDG_RUNTIME_DIR"
        raise PermissionError(f"{problem}, who could listen there instead: {advice}")
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(OSError):  # Linux creates the file with this mode; elsewhere the next call but one narrows it
            os.fchmod(listener.fileno(), 0o600)
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a killed kernel; the lock of the store ensures that no other kernel is running."""
    if path.is_socket():
        path.unlink()


async def _answer(kernel: Kernel, line: bytes, reload: Reload) -> Answer:
    try:
        if is_text_too_deep(line):
            raise GnomonError(f"the command is nested deeper than {MAX_DEPTH} levels")
        return Answer(result=await _execute(kernel, _commands.decode(line), reload))
    except RecursionError:  # not valid JSON, or else it would have been refused above
        return Answer(error="the command is not valid JSON", error_type=GnomonError.__name__)
    except ConfigError as exc:
        return Answer(error=str(exc), error_type=type(exc).__name__, problems=exc.problems)
    except JobOrdersError as exc:
        return Answer(error=str(exc), error_type=type(exc).__name__, problems=exc.lines("jobs"))
    except JobKeysError as exc:
        return Answer(error=str(exc), error_type=type(exc).__name__, problems=str(exc).splitlines())
    except (GnomonError, msgspec.MsgspecError) as exc:
        return Answer(error=str(exc), error_type=type(exc).__name__)


async def _execute(kernel: Kernel, command: Command, reload: Reload) -> Any:  # noqa: PLR0911 - one for each command
    match command:
        case Pause(job_id, actor, reason):
            return await kernel.pause(job_id, actor=actor, reason=reason)
        case Resume(job_id, actor, reason):
            return await kernel.resume(job_id, actor=actor, reason=reason)
        case Trigger():
            return await kernel.trigger(
                command.job_id,
                kwargs=command.kwargs,
                labels=command.labels,
                force=command.force,
                resume=command.resume,
                actor=command.actor,
                idempotency_key=command.idempotency_key,
            )
        case Cancel(execution_id, actor, reason):
            return await kernel.cancel(execution_id, actor=actor, reason=reason)
        case OrderJob(order, actor, reason, key):
            ordered = await kernel.order_job(order, trusted=True, idempotency_key=key, actor=actor, reason=reason)
            return {"version": ordered.version, "is_new": ordered.is_new}
        case OrderJobs(jobs, owner, actor, reason):
            added = await kernel.order_jobs(jobs, owner=owner, trusted=True, actor=actor, reason=reason)
            return [{"version": ordered.version, "is_new": ordered.is_new} for ordered in added]
        case PreviewJob(keys):
            return await kernel.preview_job(keys, trusted=True)
        case ReloadJobs():
            return await reload()
        case GetHealth():
            return kernel.health()
        case _:
            return await _operate(kernel, command)


async def _operate(kernel: Kernel, command: OperatorCommand) -> Any:
    match command:
        case Skip(job_id, fire, undo, actor, reason):
            return await kernel.skip(job_id, fire, undo=undo, actor=actor, reason=reason)
        case StartBackfill():
            order = msgspec.structs.asdict(command)
            return await kernel.backfill(order.pop("job_id"), order.pop("since"), order.pop("until"), **order)
        case StopBackfill(job_id, actor, reason):
            return await kernel.stop_backfill(job_id, actor=actor, reason=reason)
        case SetHeld(held, actor, reason):
            return await (kernel.hold if held else kernel.release)(actor=actor, reason=reason)
        case PauseJobs(selection, paused, actor, reason):
            act = kernel.pause_jobs if paused else kernel.resume_jobs
            return await act(selection, actor=actor, reason=reason)
        case CancelRuns(selection, actor, reason):
            return await kernel.cancel_runs(selection, actor=actor, reason=reason)


def _encode(value: Any) -> Any:
    """Encode durations as text and functions of jobs by name."""
    try:
        return encode_hook(value)
    except NotImplementedError:
        return str(value)
