"""PostgreSQL and PgBouncer for tests, each as its own process and, where root runs the tests, as another user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg import sql

from servers import PATIENCE, START_PATIENCE, Server, missing

OWNER = "gnomon"
"""The superuser of a test's server, who needs no password."""
_BACKUP = ("SELECT pg_backup_start('copy', true)", "SELECT labelfile FROM pg_backup_stop(false)")
_OLD_BACKUP = ("SELECT pg_start_backup('copy', true, false)", "SELECT labelfile FROM pg_stop_backup(false, false)")
"""How a backup begins and ends, since PostgreSQL 15 and before."""


def other_user() -> str | None:
    """Return the user who runs the servers, which refuse to run as root; None where the tests' own user may."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name  # of Debian's package
    return "nobody"


def make_folder(parent: str = "") -> Path:
    """Make a folder that the user of the servers may reach, which cannot be said of pytest's folders."""
    user = other_user()
    folder = Path(tempfile.mkdtemp(prefix="gnomon-postgres-", dir=parent or ("/tmp" if user else None)))
    if user:
        shutil.chown(folder, user)
    return folder


class PostgresServer(Server):
    """PostgreSQL with the programs of the folder `programs`; it asks nobody for a password.

    It keeps commits when its processes are killed, as long as the machine runs: `fsync`, which is off unless a test
    starts it with `-c fsync=on`, protects from power cuts alone.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        super().__init__(str(programs / "postgres"), folder)
        self.user = other_user()
        self._programs = programs
        self.data = folder / "data"

    def dsn(self, database: str = "postgres", user: str = OWNER, *, port: int | None = None) -> str:
        """Return an address; `port` may be that of a proxy."""
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def initialize(self) -> None:
        """Make an empty cluster, which takes a second."""
        how = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1"]
        done = subprocess.run(
            [str(self._programs / "initdb"), *how, f"--username={OWNER}", f"--pgdata={self.data}"],
            check=False, capture_output=True, text=True, cwd=self.folder, timeout=START_PATIENCE, **self.identity(),
        )  # fmt: skip
        assert done.returncode == 0, f"initdb: {done.stderr}"

    def copy_of(self, other: PostgresServer) -> None:
        """Copy the files of a server that is not running."""
        subprocess.run(["cp", "-a", other.data, self.data], check=True)

    def back_up(self, other: PostgresServer) -> None:
        """Copy the files of this running server to one that was not started yet, without `pg_basebackup`: that of an
        older PostgreSQL does not work with a newer server, and a package with a server may have none.
        """
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            begin, end = _BACKUP if connection.info.server_version >= 150000 else _OLD_BACKUP
            connection.execute(begin)
            subprocess.run(["cp", "-a", self.data, other.data], check=False)  # a file may vanish meanwhile
            ((label,),) = connection.execute(end).fetchall()
        # A mark of the archiver may vanish, and none of the segments that were written since the beginning.
        subprocess.run(["cp", "-a", f"{self.data}/pg_wal/.", other.data / "pg_wal"], check=False)
        (other.data / "postmaster.pid").unlink()
        other.write("backup_label", label)

    def follow(self, primary: PostgresServer) -> None:
        """Replicate the server of which this one, not started yet, has a copy."""
        where = f"host=127.0.0.1 port={primary.port} user={OWNER}"
        self.write("postgresql.auto.conf", f"primary_conninfo = '{where}'\n")
        self.write("standby.signal", "")

    def write(self, name: str, text: str) -> None:
        """Write a file of its data."""
        path = self.data / name
        path.write_text(text)
        shutil.chown(path, self.user or os.geteuid())

    def create_database(self, name: str) -> None:
        """Create an empty database as a copy of files, which is faster here than through the server's log."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            how = "STRATEGY file_copy" if connection.info.server_version >= 150000 else ""  # the only one before
            connection.execute(sql.SQL("CREATE DATABASE {} ").format(sql.Identifier(name)) + sql.SQL(how))

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 200,
            "shared_buffers": "32MB",
            "logging_collector": "on",  # into the folder `log` of the data
        }
        pairs = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.program, "-D", str(self.data), *pairs]

    def start(self, *options: str) -> None:
        """Start it, and wait until it has recovered and answers."""
        super().start(*options)
        until = time.monotonic() + START_PATIENCE
        while True:
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, f"{self.program} did not answer within {START_PATIENCE:g} s"
                time.sleep(0.02)
            else:
                return

    def revive(self) -> None:
        """Start it again where it has ended by itself, as it does without room for its log."""
        assert self._process is not None
        if self._process.poll() is not None:
            self.start()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server and to the processes of its connections, which are process groups themselves."""
        assert self._process is not None
        if number not in {signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT}:
            self._process.send_signal(number)
            return
        if number != signal.SIGCONT:
            self._process.send_signal(signal.SIGSTOP)  # it begins no process meanwhile
        children = self._children()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, number)
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            _wait_for_ends(children)

    def stop(self) -> None:
        """End it, and its connections first."""
        self.send(signal.SIGINT)  # SIGTERM waits for clients to leave
        assert self._process is not None
        self._process.wait(PATIENCE)

    def cpu_s(self) -> float:
        """Return the CPU time that it has taken so far, with all of its sessions."""
        assert self._process is not None
        while True:
            own = _cpu_ticks(self._process.pid)
            sessions = sum(sum(_cpu_ticks(child)[:2]) for child in self._children())
            if _cpu_ticks(self._process.pid) == own:  # else one of them has ended, and may be counted twice, or never
                return (sum(own) + sessions) / os.sysconf("SC_CLK_TCK")

    def _children(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _wait_for_ends(processes: list[int]) -> None:
    """Wait until nothing of killed processes holds memory that a new server wants."""
    until = time.monotonic() + PATIENCE
    while any(map(_is_alive, processes)):
        assert time.monotonic() < until, "killed processes of PostgreSQL are still there"
        time.sleep(0.01)


def _cpu_ticks(pid: int) -> list[int]:
    """Return utime, stime, cutime and cstime of a process, none of one that has ended."""
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]]
    return []


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # nobody may have asked for its exit status


class PgBouncer(Server):
    """PgBouncer, which lends a connection of the server to a client for one transaction."""

    def __init__(self, program: str, folder: Path, server: PostgresServer) -> None:
        super().__init__(program, folder)
        self.user = other_user()
        self._server = server

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        file = self.folder / "pgbouncer.ini"
        file.write_text(f"""
[databases]
* = host=127.0.0.1 port={self._server.port} user={OWNER}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
max_client_conn = 500
logfile = {self.folder}/pgbouncer.log
""")
        return [self.program, str(file)]


def find_postgres() -> Path:
    """Find the folder of the server's programs: that of $GNOMON_TEST_POSTGRES, Debian's newest, or that in PATH."""
    if named := os.environ.get("GNOMON_TEST_POSTGRES"):
        return Path(named)
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    found = max(versions, key=lambda path: float(path.parts[-3]), default=None) or shutil.which("postgres")
    return (
        Path(found).resolve().parent
        if found
        else missing("postgres", "there is no PostgreSQL: apt-get install postgresql")
    )


def find_pgbouncer() -> str:
    """Find PgBouncer in PATH, or where Debian puts it, which is not in the PATH of every user."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    return found or missing("pgbouncer", "there is no PgBouncer: apt-get install pgbouncer")


@contextmanager
def running_postgres(*options: str, parent: str = "") -> Iterator[PostgresServer]:
    """Run a server with an empty cluster in a new folder, which is deleted at the end."""
    server = PostgresServer(find_postgres(), make_folder(parent))
    try:
        server.initialize()
        server.start(*options)
        yield server
    finally:
        server.clean_up()
        shutil.rmtree(server.folder)
