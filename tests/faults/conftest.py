from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gnomon_process import Gnomon
from log_places import server_of
from postgres_servers import PostgresServer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gnomon]]:
    """Start `gnomon ARGUMENTS` in the folder of the test; what still runs at the end is killed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GNOMON")}
    started: list[Gnomon] = []

    def start_one(*arguments: str, folder: Path = tmp_path, **variables: str) -> Gnomon:
        started.append(Gnomon(folder, arguments, environment | variables))
        return started[-1]

    yield start_one
    for one in started:
        one.close()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    """Provide a PostgreSQL server of the test's own, to be killed at will."""
    with server_of("postgres", tmp_path) as server:
        assert isinstance(server, PostgresServer)
        yield server


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a small file system of this kind, by default in the folder of the test; skip where that is not possible."""
    mounts: list[Path] = []

    def mount(kind: str, size_mib: int, folder: Path | None = None) -> Path:
        folder = folder or tmp_path / kind
        folder.mkdir(exist_ok=True)
        if kind == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0755", "tmpfs", folder)
        else:
            image = tmp_path / f"{kind}.img"
            with image.open("wb") as file:
                file.truncate(size_mib * 1024 * 1024)
            run(f"mkfs.{kind}", "-q", image)
            run("mount", "-o", "loop", image, folder)
        mounts.append(folder)
        return folder

    yield mount
    for folder in mounts:
        subprocess.run(["umount", "--lazy", folder], check=False)
        with suppress(OSError):
            folder.rmdir()


def run(*command: Any) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (FileNotFoundError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"a small file system cannot be mounted here: {exc}")
