"""Two kernels on one SQLite log: what a follower costs, how far its viewers lag, and how fast it takes over.

    python bench/followers.py [--seconds S] [--rate RUNS_PER_SECOND] [--viewers N] [--rounds N]

The leader and the follower are processes with the same jobs and a web server each. First both are idle, and their CPU
time is measured. Then the leader runs RATE runs per second, each of which writes 3 events, and N viewers of each web
server measure the age of the oldest event in each frame: the leader's viewers are the other side. Then the leader is
killed, or stopped in order, in turns, and the time until the follower leads is measured. A round is two of these.
Prints one JSON line and one sentence.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from fanout import Viewer, connect, send
from gnomon import Duration, Job, Kernel
from gnomon.hookspecs import hookimpl
from gnomon_sqlite import SqliteStore
from gnomon_web import WebPlugin
from measure import arguments, median, percentile, report, short

JOBS = 20
WARM_UP_S = 2.0


async def body() -> None:
    """Return at once."""


# --- a kernel ---


class Leading:
    """Reports when this process leads: the lifespan of a plugin of the leader begins with the term."""

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Report the time."""
        send(leads=time.time())
        yield


async def serve(path: str) -> None:
    """Run a kernel, and do what the lines of the standard input say until it ends."""
    web = WebPlugin(WebPlugin.Config(port=0, max_connections=500))
    store = SqliteStore(path, synchronous="NORMAL")
    async with Kernel(role="auto", store=store, plugins=[web, Leading()], drain=timedelta(0)) as kernel:
        send(url=web.url)
        while line := await asyncio.to_thread(sys.stdin.readline):
            match line.split():
                case ["cpu"]:
                    send(cpu_s=time.process_time(), role=kernel.health().role)
                case ["run", rate]:
                    await run_jobs(kernel, float(rate))
                    send(position=kernel.health().position)
                case ["rest"]:
                    for number in range(JOBS):
                        await kernel.remove_job(f"job-{number}")
                    while not kernel.is_idle or kernel.health().running:  # noqa: ASYNC110 - as operators do
                        await asyncio.sleep(0.02)
                    send(position=kernel.health().position)
        began = time.time()
    send(stopped=time.time(), took_s=time.time() - began)


async def run_jobs(kernel: Kernel, rate: float) -> None:
    """Add jobs that run at this rate together, spread evenly."""
    every = Duration(seconds=JOBS / rate)
    for number in range(JOBS):
        await kernel.add_job(Job(id=f"job-{number}", func="time:time", every=every, overlap="allow", catch_up="none"))
        await asyncio.sleep(every.total_seconds() / JOBS)


# --- its viewers ---


async def watch(url: str, viewers: int) -> None:
    """Follow the log with some clients; report their delays when they have received the given position."""
    clients = [Viewer() for _ in range(viewers)]
    for client in clients:
        one = await connect(url)
        await asyncio.get_running_loop().create_connection(lambda client=client: client, sock=one)  # type: ignore[misc]
    await asyncio.gather(*(client.ready.wait() for client in clients))
    send(ready=len(clients))
    await asyncio.to_thread(sys.stdin.readline)
    for client in clients:
        client.delays.clear()
    head = int(await asyncio.to_thread(sys.stdin.readline))
    deadline = time.monotonic() + 10
    while any(client.seq < head for client in clients) and time.monotonic() < deadline:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.02)
    send(
        complete=sum(client.seq >= head and not client.gaps for client in clients),
        delays=[round(delay, 4) for client in clients for delay in client.delays],
    )


# --- the measurement ---


class Child:
    """A child process of this script, controlled over its pipes."""

    def __init__(self, *values: object) -> None:
        command = [sys.executable, __file__, *map(str, values)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def receive(self, key: str) -> dict[str, Any]:
        """Wait for the message that has this key, and return it."""
        assert self.process.stdout is not None  # noqa: S101
        for line in self.process.stdout:
            found: dict[str, Any] = json.loads(line)
            if key in found:
                return found
        sys.exit("a child process of the benchmark ended early")

    def say(self, line: object = "") -> None:
        """Send a line."""
        assert self.process.stdin is not None  # noqa: S101
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def stop(self) -> dict[str, Any]:
        """Stop it in order, and return its last message."""
        assert self.process.stdin is not None  # noqa: S101
        self.process.stdin.close()
        return self.receive("stopped")

    def kill(self) -> float:
        """Kill the process; return when."""
        at = time.time()
        self.process.kill()
        self.process.wait()
        return at


class Pair:
    """The leader and the follower, which is started again after each change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.leader = Child("serve", path)
        self.leader.receive("leads")
        self.leader_url = self.leader.receive("url")["url"]
        self._follow()

    def _follow(self) -> None:
        self.follower = Child("serve", self._path)
        self.follower_url = self.follower.receive("url")["url"]

    def change(self, end: Callable[[], float]) -> float:
        """End the leader; return the seconds until the follower leads, and start another follower."""
        ended_at = end()
        led_at = self.follower.receive("leads")["leads"]
        self.leader = self.follower
        self._follow()
        return float(led_at) - ended_at

    def end(self) -> None:
        """Kill both."""
        for child in (self.leader, self.follower):
            child.kill()


def idle_cost(pair: Pair, seconds: float) -> tuple[float, float]:
    """Return the share of a core that the leader and the follower use without work, in percent."""
    time.sleep(WARM_UP_S)
    both, before = (pair.leader, pair.follower), []
    for wait in (seconds, 0.0):
        for child in both:
            child.say("cpu")
        before.append([child.receive("cpu_s")["cpu_s"] for child in both])
        time.sleep(wait)
    leader, follower = (short((after - first) / seconds * 100) for first, after in zip(*before, strict=True))
    return leader, follower


def lags(pair: Pair, rate: float, viewers: int, seconds: float) -> list[dict[str, Any]]:
    """Return what the viewers of the leader and of the follower have measured."""
    watchers = [Child("watch", url, viewers) for url in (pair.leader_url, pair.follower_url)]
    try:
        for watcher in watchers:
            watcher.receive("ready")
        pair.leader.say(f"run {rate}")
        begun = pair.leader.receive("position")["position"]
        time.sleep(WARM_UP_S)
        for watcher in watchers:
            watcher.say()
        time.sleep(seconds)
        pair.leader.say("rest")
        head = pair.leader.receive("position")["position"]
        for watcher in watchers:
            watcher.say(head)
        found = [watcher.receive("delays") for watcher in watchers]
    finally:
        for watcher in watchers:
            watcher.kill()
    return [one | {"events": head - begun, "delays": sorted(one["delays"])} for one in found]


def measure(seconds: float, rate: float, viewers: int, rounds: int, path: Path) -> dict[str, Any]:
    """Measure once."""
    pair = Pair(path)
    try:
        leader_idle, follower_idle = idle_cost(pair, seconds)
        of_leader, of_follower = lags(pair, rate, viewers, seconds)
        killed, stopped = [], []
        for _ in range(rounds):
            killed.append({"s": pair.change(pair.leader.kill)})
            stopped.append({"s": pair.change(lambda: float(pair.leader.stop()["stopped"]))})
    finally:
        pair.end()
    return {
        "rate": rate,
        "follower_idle_cpu_percent": follower_idle,
        "leader_idle_cpu_percent": leader_idle,
        "events": of_follower["events"],
        "complete": of_follower["complete"],
        "follower_lag_p50_ms": short(percentile(of_follower["delays"], 50) * 1000),
        "follower_lag_p99_ms": short(percentile(of_follower["delays"], 99) * 1000),
        "leader_lag_p50_ms": short(percentile(of_leader["delays"], 50) * 1000),
        "leader_lag_p99_ms": short(percentile(of_leader["delays"], 99) * 1000),
        "after_sigkill_median_s": median(killed, "s"),
        "after_sigkill_max_s": short(max(one["s"] for one in killed)),
        "after_stop_median_s": median(stopped, "s"),
        "after_stop_max_s": short(max(one["s"] for one in stopped)),
    }


def main() -> None:
    """Measure, or run as one of the child processes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    match sys.argv[1:]:
        case ["serve", path]:
            asyncio.run(serve(path))
        case ["watch", url, viewers]:
            asyncio.run(watch(url, int(viewers)))
        case _:
            sizes = arguments(__doc__ or "", seconds=10, rate=200, viewers=5, rounds=5)
            with tempfile.TemporaryDirectory() as folder:
                log = Path(folder) / "gnomon.db"
                found = measure(sizes.seconds, sizes.rate, sizes.viewers, sizes.rounds, log)
            report(
                "followers",
                f"An idle follower uses {found['follower_idle_cpu_percent']} % of a core (the leader "
                f"{found['leader_idle_cpu_percent']} %); at {found['rate']} runs/s its viewers lag by "
                f"{found['follower_lag_p50_ms']} ms (p99 {found['follower_lag_p99_ms']} ms), those of the leader by "
                f"{found['leader_lag_p50_ms']} ms (p99 {found['leader_lag_p99_ms']} ms); it leads "
                f"{found['after_sigkill_median_s']} s after a SIGKILL of the leader (at most "
                f"{found['after_sigkill_max_s']} s), and {found['after_stop_median_s']} s after a stop (at most "
                f"{found['after_stop_max_s']} s).",
                **found,
            )


if __name__ == "__main__":
    main()
