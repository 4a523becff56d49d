"""The key of logins: one for all processes that start at the same time, whatever they find."""

from __future__ import annotations

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from gnomon.conversion import Secret
from gnomon_web.auth import session_key
from gnomon_web.auth.session_key import FILE_NAME, read_session_key
from gnomon_web.config import Config

STARTS = 8
KEY = "b4Vd-9kTz-Q2mX-7wLp-H5nR-3sJc-Y8fG-1aKe"


@pytest.mark.parametrize("found", ["nothing", "a key that others can read"])
def test_processes_that_start_at_the_same_time_have_the_same_key(tmp_path: Path, found: str) -> None:
    with ThreadPoolExecutor(STARTS) as pool:
        for number in range(20):
            folder, barrier = tmp_path / str(number), Barrier(STARTS)
            if found != "nothing":
                folder.mkdir()
                (folder / FILE_NAME).write_bytes(b"k" * 32)
                (folder / FILE_NAME).chmod(0o644)

            def start(folder: Path = folder, barrier: Barrier = barrier) -> bytes:
                barrier.wait()
                return read_session_key(folder).value

            keys = {one.result() for one in [pool.submit(start) for _ in range(STARTS)]}
            assert keys == {(folder / FILE_NAME).read_bytes()}
            assert keys != {b"k" * 32}


def test_a_folder_that_another_user_keeps_locked_delays_a_start_and_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_key, "LOCK_TRIES", 3)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        key = read_session_key(tmp_path)
    finally:
        os.close(descriptor)

    assert key == read_session_key(tmp_path)
    assert key.is_lasting


def test_a_configured_key_needs_no_file_and_is_the_same_everywhere(tmp_path: Path) -> None:
    one, other = read_session_key(tmp_path, Secret(KEY)), read_session_key(None, Secret(KEY))

    assert one == other
    assert one.is_lasting
    assert KEY.encode() not in one.value
    assert list(tmp_path.iterdir()) == []
    assert read_session_key(None, Secret(KEY + "x")) != one


@pytest.mark.parametrize("key", ["short-but-Random9", "a" * 40, "change-me-change-me-change-me-change-me"])
def test_a_configured_key_that_could_be_guessed_is_refused(key: str) -> None:
    options: Any = {"session_key": Secret(key)}
    with pytest.raises(ValueError, match="session_key must be 32 random characters or more") as refused:
        Config(**options)

    assert key not in str(refused.value)
