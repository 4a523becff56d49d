"""Many viewers follow the growing log: how long events take to reach them, and what they cost the kernel.

    python bench/fanout.py [VIEWERS] [DEAF] [RUNS_PER_SECOND] [SECONDS]

A kernel with a SQLite log and a web server runs in its own process; each run writes 3 events. VIEWERS clients of
`/ws/events` in other processes read everything; each checks that it receives every position once and in order, and
measures the age of the oldest event in each frame. DEAF further clients connect and never read. Start delays are
first measured without viewers. Prints one JSON line and one sentence.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from gnomon import Duration, Job, Kernel, Started
from gnomon.hookspecs import hookimpl
from gnomon.plugins.plugin_set import PluginSet
from gnomon_sqlite import SqliteStore
from gnomon_web import WebPlugin

JOBS = 50
VIEWERS_PER_PROCESS = 100
WARM_UP = 1.0


async def body() -> None:
    """Return at once."""


# --- the server ---


class Delays:
    """Collects the start delays of runs."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @hookimpl
    def on_started(self, event: Started) -> None:
        """Record the start delay."""
        self.seconds.append(event.delay)


async def serve(folder: Path, runs_per_second: float, seconds: float) -> None:
    """Run the kernel: report its URL, run jobs without viewers, and again with viewers."""
    web, delays, plugins = WebPlugin(WebPlugin.Config(port=0, max_connections=2_000)), Delays(), PluginSet()
    plugins.add(web, "web")
    plugins.add(delays, "delays")
    every = Duration(seconds=JOBS / runs_per_second)
    store = SqliteStore(folder / "gnomon.db", synchronous="NORMAL")
    async with Kernel(store=store, plugins=plugins, drain=timedelta(0)) as kernel:
        send(url=web.url)
        phases = []
        for _ in range(2):
            await asyncio.to_thread(sys.stdin.readline)
            phases.append(await phase(kernel, delays, every, seconds))
        while not kernel.is_idle or kernel.health().running:  # noqa: ASYNC110 - polls health as operators do
            await asyncio.sleep(0.05)
        send(head=kernel.health().position, rss_mb=rss(), alone=phases[0], watched=phases[1])
        await asyncio.to_thread(sys.stdin.readline)


async def phase(kernel: Kernel, delays: Delays, every: Duration, seconds: float) -> dict[str, float]:
    """Run jobs for a while and return their start delays and costs."""
    for number in range(JOBS):
        await kernel.add_job(Job(id=f"job-{number}", func=body, every=every, overlap="allow", catch_up="none"))
        await asyncio.sleep(every.total_seconds() / JOBS)  # spread the fires
    await asyncio.sleep(WARM_UP)
    delays.seconds.clear()
    head, cpu, web_cpu = kernel.health().position, time.process_time(), cpu_of("gnomon-plugin-web")
    await asyncio.sleep(seconds)
    found = {
        "events_per_s": round((kernel.health().position - head) / seconds),
        "lateness_p50_ms": percentile(delays.seconds, 50),
        "lateness_p99_ms": percentile(delays.seconds, 99),
        "cpu_percent": round((time.process_time() - cpu) / seconds * 100, 1),
        "web_cpu_percent": round((cpu_of("gnomon-plugin-web") - web_cpu) / seconds * 100, 1),
        "rss_mb": rss(),
    }
    for number in range(JOBS):
        await kernel.remove_job(f"job-{number}")
    return found


def cpu_of(name: str) -> float:
    """Return the CPU seconds of the named thread."""
    (thread,) = (thread for thread in threading.enumerate() if thread.name == name)
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))


# --- the viewers ---


async def watch(url: str, viewers: int, deaf: int) -> None:
    """Follow the log with many clients: report when all are connected, and at the end what they received."""
    clients = [Viewer() for _ in range(viewers)]
    sockets = [await connect(url) for _ in range(viewers + deaf)]
    for client, one in zip(clients, sockets[deaf:], strict=True):
        await asyncio.get_running_loop().create_connection(lambda client=client: client, sock=one)  # type: ignore[misc]
    await asyncio.gather(*(client.ready.wait() for client in clients))
    send(ready=len(clients))
    head = int(await asyncio.to_thread(sys.stdin.readline))
    deadline = time.monotonic() + 10
    while any(client.seq < head for client in clients) and time.monotonic() < deadline:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.05)
    delays = [delay for client in clients for delay in client.delays]
    send(
        complete=sum(client.seq >= head and not client.gaps for client in clients),
        gaps=sum(client.gaps for client in clients),
        frames=sum(len(client.delays) for client in clients),
        events=sum(client.seen for client in clients),
        delays=[round(delay, 5) for delay in delays[:: max(len(delays) // 20_000, 1)]],
        cpu_s=time.process_time(),
    )


class Viewer(asyncio.Protocol):
    """A client that reads with little CPU, because it shares the machine with the kernel.

    It counts the positions in the text of a frame, and measures the age of the oldest event in it.
    """

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.delays: list[float] = []
        self.seq = self.gaps = self.seen = 0
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        """Process complete frames."""
        self._buffer += data
        while (frame := self._next()) is not None:
            if frame.startswith(b'{"type":"ready"'):
                self.seq = seq_of(frame)
                self.ready.set()
            elif frame.startswith(b'{"type":"events"'):
                self._take(frame)

    def _next(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < 10 and (len(buffer) < 2 or len(buffer) < 2 + (buffer[1] & 127)):
            return None
        short = buffer[1] & 127
        start = 2 if short < 126 else 4 if short == 126 else 10
        end = start + (short if short < 126 else int.from_bytes(buffer[2:start]))
        if len(buffer) < end:
            return None
        self._buffer = buffer[end:]
        return buffer[start:end]

    def _take(self, frame: bytes) -> None:
        count, seq = frame.count(b'"position":'), seq_of(frame)
        self.gaps += seq - count != self.seq
        self.seq = seq
        self.seen += count
        start = frame.index(b'"at":"') + 6
        self.delays.append(time.time() - moment(frame[start : frame.index(b'"', start)].decode()))


def seq_of(frame: bytes) -> int:
    """Return the last position of a frame."""
    start = frame.index(b'"seq":') + 6
    return int(frame[start : frame.index(b",", start)])


async def connect(url: str) -> socket.socket:
    """Open a WebSocket and read only the response to the handshake."""
    host, _, port = url.removeprefix("http://").partition(":")
    client = socket.socket()
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (host, int(port)))
    key = base64.b64encode(os.urandom(16)).decode()
    await loop.sock_sendall(
        client,
        f"GET /ws/events HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode(),
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await loop.sock_recv(client, 1)
    return client


# --- both ---


def send(**facts: Any) -> None:
    """Send a message to the parent process."""
    print(json.dumps(facts), flush=True)


def rss() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def percentile(seconds: list[float], which: int) -> float:
    """Return a percentile in milliseconds."""
    return round(statistics.quantiles(seconds, n=100)[which - 1] * 1000, 2) if len(seconds) > 1 else float("nan")


def moment(text: str) -> float:
    """Parse a timestamp of the log to seconds since 1970; for speed only the time of day is parsed."""
    whole, _, fraction = text[11:].removesuffix("Z").partition(".")
    hours, minutes, seconds = whole.split(":")
    today = time.time() // 86_400 * 86_400
    return today + int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction or 0}")


class Child:
    """A child process of this script, controlled over its pipes."""

    def __init__(self, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def receive(self) -> dict[str, Any]:
        """Wait for a message and return it."""
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a child process of the benchmark ended early")
        found: dict[str, Any] = json.loads(line)
        return found

    def send(self, line: object = "") -> None:
        """Send a line, which starts the next phase."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()


def measure(viewers: int, deaf: int, runs_per_second: float, seconds: float, folder: Path) -> dict[str, Any]:
    """Measure once."""
    server = Child("serve", folder, runs_per_second, seconds)
    children = [server]
    try:
        url = server.receive()["url"]
        server.send()  # the phase without viewers
        time.sleep(seconds + WARM_UP + 1)
        sizes = [min(VIEWERS_PER_PROCESS, viewers - start) for start in range(0, viewers, VIEWERS_PER_PROCESS)]
        watchers = [Child("watch", url, size, deaf if number == 0 else 0) for number, size in enumerate(sizes)]
        children += watchers
        for watcher in watchers:
            watcher.receive()
        server.send()
        found = server.receive()
        for watcher in watchers:
            watcher.send(found["head"])
        seen = [watcher.receive() for watcher in watchers]
    finally:
        for child in children:
            child.end()
    delays = [delay for one in seen for delay in one["delays"]]
    return {
        "viewers": viewers,
        "deaf": deaf,
        "events_per_s": found["watched"]["events_per_s"],
        "complete": sum(one["complete"] for one in seen),
        "gaps": sum(one["gaps"] for one in seen),
        "deliveries": sum(one["events"] for one in seen),
        "events_per_frame": round(sum(one["events"] for one in seen) / max(sum(one["frames"] for one in seen), 1), 1),
        "delivery_p50_ms": percentile(delays, 50),
        "delivery_p99_ms": percentile(delays, 99),
        "delivery_max_ms": round(max(delays) * 1000, 1),
        "server_rss_mb": found["rss_mb"],
        "viewers_cpu_s": round(sum(one["cpu_s"] for one in seen), 1),
        "alone": found["alone"],
        "watched": found["watched"],
    }


def main() -> None:
    """Measure, or run as one of the child processes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    match sys.argv[1:]:
        case ["serve", folder, runs_per_second, seconds]:
            asyncio.run(serve(Path(folder), float(runs_per_second), float(seconds)))
        case ["watch", url, viewers, deaf]:
            asyncio.run(watch(url, int(viewers), int(deaf)))
        case arguments:
            viewers, deaf, runs, seconds = (*arguments, *("150", "50", "167", "10")[len(arguments) :])
            with tempfile.TemporaryDirectory() as folder:
                found = measure(int(viewers), int(deaf), float(runs), float(seconds), Path(folder))
            print(json.dumps(found))
            print(
                f"{found['complete']} of {found['viewers']} viewers received all of {found['events_per_s']} events per "
                f"second, with a median delay of {found['delivery_p50_ms']} ms (p99 {found['delivery_p99_ms']} ms), "
                f"next to {found['deaf']} that never read; the median start delay was "
                f"{found['watched']['lateness_p50_ms']} ms (p99 {found['watched']['lateness_p99_ms']} ms), "
                f"without viewers {found['alone']['lateness_p50_ms']} ms "
                f"(p99 {found['alone']['lateness_p99_ms']} ms)."
            )


if __name__ == "__main__":
    main()
