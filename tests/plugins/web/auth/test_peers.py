"""A server without tokens: its own user and root act, another user of the machine reads."""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from gnomon import Job
from gnomon_web.auth.peer_owner import UNKNOWN_USER, owner_of_peer
from other_user import NOBODY, start_as_nobody

REQUESTS = """
answers = []
for method, path in json.loads(sys.argv[3]):
    connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    answers.append([answer.status, json.loads(answer.read())])
print(json.dumps(answers))
"""
HIT_AND_RUN = """
for _ in range(20):
    peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    peer.sendall(b"POST /scheduler/jobs/tick/trigger HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 0\\r\\n\\r\\n")
    if len(sys.argv) > 3:
        peer.shutdown(socket.SHUT_WR)
    peer.close()
"""
BECOMES_ANOTHER_USER = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")


async def tick() -> None: ...


async def as_nobody(script: str, *arguments: object) -> str:
    process = start_as_nobody(script, *arguments)
    output, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, errors
    return output


async def request_as_nobody(ask: Any, *requests: tuple[str, str], host: str = "127.0.0.1") -> list[Any]:
    _, port = ask.web.address
    return json.loads(await as_nobody(REQUESTS, host, port, json.dumps(requests)))  # type: ignore[no-any-return]


async def test_the_own_user_acts_without_a_token(serve: Any) -> None:
    async with serve(Job(id="tick", func=tick)) as ask:
        triggered = await ask("POST", "/scheduler/jobs/tick/trigger")
        session = await ask("GET", "/session")

    assert triggered.status == 202
    assert triggered.json["actor"] == "local"
    assert (session.json["role"], session.json["is_open"]) == ("admin", True)


@BECOMES_ANOTHER_USER
async def test_another_user_reads_and_may_not_act(serve: Any) -> None:
    async with serve(Job(id="tick", func=tick)) as ask:
        reads = await request_as_nobody(ask, ("GET", "/scheduler/jobs"), ("GET", "/readyz"), ("GET", "/session"))
        acts = await request_as_nobody(
            ask,
            ("POST", "/scheduler/jobs/tick/trigger"),
            ("POST", "/scheduler/jobs/tick/pause"),
            ("DELETE", f"/scheduler/executions/{'0' * 24}"),
            ("GET", "/sessions"),
        )
        runs = await ask("GET", "/scheduler/executions")
        job = await ask("GET", "/scheduler/jobs/tick")

    assert [status for status, _ in reads] == [200, 200, 200]
    assert reads[2][1]["role"] == "viewer"
    assert [status for status, _ in acts] == [403, 403, 403, 403]
    assert runs.json["total"] == 0
    assert not job.json["paused"]
    detail = acts[0][1]["detail"]
    assert f"the user nobody (uid {NOBODY})" in detail
    assert "[[plugins.web.tokens]]" in detail
    assert "secrets.token_urlsafe()" in detail


@BECOMES_ANOTHER_USER
@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_another_user_may_not_act_over_ipv6(serve: Any) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    async with serve(Job(id="tick", func=tick), host="::1") as ask:
        own = await ask("POST", "/scheduler/jobs/tick/trigger")
        ((status, _),) = await request_as_nobody(ask, ("POST", "/scheduler/jobs/tick/trigger"), host="::1")

    assert (own.status, status) == (202, 403)


@BECOMES_ANOTHER_USER
@pytest.mark.parametrize("shutdown", [(), ("shutdown",)])
async def test_another_user_may_not_act_by_hanging_up_at_once(serve: Any, shutdown: tuple[str, ...]) -> None:
    """The owner of a socket that is closed reads as root in the tables of Linux."""
    async with serve(Job(id="tick", func=tick)) as ask:
        _, port = ask.web.address
        await as_nobody(HIT_AND_RUN, "127.0.0.1", port, *shutdown)
        await request_as_nobody(ask, ("GET", "/readyz"))  # later than all others
        runs = await ask("GET", "/scheduler/executions")

    assert runs.json["total"] == 0


# --- the tables ---


class Transport:
    """A connection from 127.0.0.1:40000 to 127.0.0.1:8000."""

    def __init__(self) -> None:
        self.infos = {
            "socket": socket.socket(),
            "sockname": ("127.0.0.1", 8000),
            "peername": ("127.0.0.1", 40000),
        }

    def get_extra_info(self, name: str) -> Any:
        return self.infos[name]


def row(local: str, remote: str, uid: int, inode: int, state: str = "01") -> str:
    return (
        f"   1: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:5} 0 {inode} 1 0000 20 4 30 10 -1"
    )


OURS = row("0100007F:1F40", "0100007F:9C40", 0, 11)


@pytest.fixture
def transport() -> Any:
    transport = Transport()
    yield transport
    transport.infos["socket"].close()  # type: ignore[attr-defined]


def table(folder: Path, *rows: str) -> tuple[Path, ...]:
    path = folder / "tcp"
    path.write_text("\n".join(["  sl  local_address rem_address   st", *rows]))
    return (folder / "nowhere", path)


@pytest.mark.parametrize(
    ("rows", "owner"),
    [
        ([OURS, row("0100007F:9C40", "0100007F:1F40", 1000, 12)], 1000),
        ([OURS, row("0100007F:9C40", "0100007F:1F40", 0, 0, "06")], UNKNOWN_USER),
        ([OURS, row("0100007F:9C41", "0100007F:1F40", 0, 12)], UNKNOWN_USER),
        ([OURS], UNKNOWN_USER),
        (
            [OURS, row("0000000000000000FFFF00000100007F:9C40", "0000000000000000FFFF00000100007F:1F40", 1000, 12)],
            1000,
        ),
        ([row("0100007F:9C40", "0100007F:1F40", 1000, 12)], None),
        ([], None),
    ],
)
@pytest.mark.skipif(sys.byteorder != "little", reason="the rows are those of a little-endian machine")
def test_the_owner_of_a_peer_is_read_from_the_tables(
    transport: Any, tmp_path: Path, rows: list[str], owner: int | None
) -> None:
    assert owner_of_peer(transport, table(tmp_path, *rows)) == owner


def test_a_system_without_tables_does_not_tell(transport: Any, tmp_path: Path) -> None:
    assert owner_of_peer(transport, (tmp_path / "nowhere",)) is None


def test_the_owner_of_a_peer_on_a_unix_socket_is_known() -> None:
    one, other = socket.socketpair()

    class UnixTransport:
        def get_extra_info(self, _: str) -> Any:
            return one

    with one, other:
        assert owner_of_peer(UnixTransport()) == os.geteuid()
