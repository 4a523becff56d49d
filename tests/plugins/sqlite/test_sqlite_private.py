"""The files of a log belong to one user: their modes, what lies in their place, and locks that others hold on them."""

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gnomon.errors import StoreError, StoreInUseError, UnsafeFileError
from gnomon.testing.histories import append, scheduled
from gnomon_sqlite import SqliteStore

NOBODY = 65534
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gnomon.db"


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir() if one.is_file()}


FILES = {f"gnomon.db{suffix}" for suffix in ("", "-wal", "-shm", ".lock", ".mark")}


@pytest.mark.usefixtures("open_umask")
async def test_every_file_of_a_log_is_for_its_owner_only(path: Path) -> None:
    async with SqliteStore(path) as store:
        await append(store, scheduled())
        assert modes(path.parent) == dict.fromkeys(FILES, 0o600)


@pytest.mark.usefixtures("open_umask")
async def test_the_files_of_an_older_version_are_narrowed_and_that_is_reported(path: Path) -> None:
    async with SqliteStore(path) as store:
        await append(store, scheduled())
        for name in FILES:
            shutil.copy(path.with_name(name), path.with_name(f"{name}.copy"))
    for name in FILES:
        path.with_name(f"{name}.copy").replace(path.with_name(name))
        path.with_name(name).chmod(0o644)
    with capture_logs() as logged:
        async with SqliteStore(path):
            assert modes(path.parent) == dict.fromkeys(FILES, 0o600)

    assert {"other users could open this file; now only its owner can"} == {
        one["event"] for one in logged if one["log_level"] == "warning"
    }


@pytest.mark.parametrize("suffix", [".lock", ".mark", "-wal", "-shm"])
async def test_a_link_in_the_place_of_a_file_is_not_followed(path: Path, tmp_path: Path, suffix: str) -> None:
    important = tmp_path / "important"
    important.write_text("something else")
    path.with_name(f"gnomon.db{suffix}").symlink_to(important)

    with pytest.raises(UnsafeFileError, match=rf"gnomon\.db{suffix} is a symbolic link"):
        await SqliteStore(path).open()

    assert important.read_text() == "something else"


async def test_a_lock_file_that_has_another_name_too_is_not_written(path: Path, tmp_path: Path) -> None:
    important = tmp_path / "important"
    important.write_text("something else")
    path.with_name("gnomon.db.lock").hardlink_to(important)

    with pytest.raises(UnsafeFileError, match="has another name"):
        await SqliteStore(path).open()

    assert important.read_text() == "something else"


LOCK = """
import fcntl, os, sys
file = open(sys.argv[1])
os.setuid(int(sys.argv[2]))
fcntl.flock(file, fcntl.LOCK_SH if sys.argv[3] == "shared" else fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not IS_ROOT or not Path("/proc/locks").exists(), reason="needs root, and Linux")
@pytest.mark.parametrize("kind", ["shared", "exclusive"])
@pytest.mark.parametrize("suffix", ["", ".lock"], ids=["database", "lock"])
async def test_a_lock_of_another_user_who_may_only_read_stops_no_start(path: Path, suffix: str, kind: str) -> None:
    async with SqliteStore(path) as store:
        await append(store, scheduled())
    file = path.with_name(f"gnomon.db{suffix}")
    file.chmod(0o644)
    command = [sys.executable, "-c", LOCK, str(file), str(NOBODY), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "locked\n"
        with capture_logs() as logged:
            async with SqliteStore(path) as store:
                await append(store, scheduled("next"))
                with pytest.raises(StoreInUseError, match=f"process {os.getpid()}"):
                    await SqliteStore(path).open()
        stranger.kill()

    ignored = next(one for one in logged if one["event"] == "another user holds a lock on this file; it is ignored")
    assert ignored["pid"] == stranger.pid


@pytest.mark.skipif(not IS_ROOT or not Path("/proc/locks").exists(), reason="needs root, and Linux")
async def test_a_lock_of_another_user_who_may_write_counts(path: Path) -> None:
    async with SqliteStore(path):
        pass
    path.chmod(0o666)
    command = [sys.executable, "-c", LOCK, str(path), str(NOBODY), "exclusive"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(StoreInUseError, match=f"process {other.pid}"):
            await SqliteStore(path).open()
        other.kill()


async def test_a_folder_that_others_may_write_is_refused_for_root_and_a_warning_for_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(StoreError, match=r"cannot be the log of root: .* can be changed by every user"):
        await SqliteStore(path).open()
    assert list(path.parent.iterdir()) == []

    monkeypatch.setattr(os, "geteuid", lambda: path.parent.stat().st_uid or 1000)
    with capture_logs() as logged:
        async with SqliteStore(path):
            pass

    assert [one["event"] for one in logged if one["log_level"] == "warning"] == [
        "other users could replace the log: use another folder, or chmod go-w"
    ]


@pytest.mark.skipif(
    not IS_ROOT or not shutil.which("unshare"), reason="needs root and unshare to bind a file elsewhere"
)
async def test_a_bind_mount_of_a_log_is_the_same_log(path: Path, tmp_path: Path) -> None:
    bound = tmp_path / "elsewhere" / "bound.db"
    bound.parent.mkdir()
    bound.touch()
    script = f"""
import asyncio, subprocess, sys
from gnomon.errors import StoreInUseError
from gnomon_sqlite import SqliteStore
subprocess.run(["mount", "--bind", {str(path)!r}, {str(bound)!r}], check=True)
try:
    asyncio.run(SqliteStore({str(bound)!r}).open())
except StoreInUseError as exc:
    print("refused", exc)
"""
    command = ["unshare", "--mount", sys.executable, "-c", script]
    async with SqliteStore(path) as store:
        await append(store, scheduled())
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        await append(store, scheduled("still works"))

    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"may not mount: {done.stderr}")
    assert done.stdout.startswith("refused"), done.stderr
    assert f"process {os.getpid()}" in done.stdout
