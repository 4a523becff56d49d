"""Two kernels on one log: what a follower costs, how far its viewers lag, and how fast it takes over.

    python bench/followers.py [--seconds S] [--rate RUNS_PER_SECOND] [--viewers N] [--singles N]
                              [--rounds N] [--mongo 0]

The leader and the follower are processes with the same jobs and a web server each, on a log in a SQLite file, and then
on one in MongoDB: the server of $GNOMON_TEST_MONGODB_URI, else the daemon that the tests use. First both are idle, and
their CPU time and the follower's requests to MongoDB are counted. Then the follower gives the leader single orders, and
viewers of each web server measure the age of the events of single runs, all of them after a pause. Then the leader runs
RATE runs per second, each of which writes 3 events, and the viewers measure the age of the oldest event in each frame:
the leader's viewers are the other side. Then the leader is killed, or stopped in order, in turns, and the time until
the follower leads is measured. A round is two of these. Prints one JSON line and one sentence, with the aims.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from pymongo import monitoring

from fanout import Viewer, connect, send
from gnomon import Duration, Job, Kernel
from gnomon.hookspecs import hookimpl
from gnomon.ports import Store
from gnomon_mongo import MongoStore
from gnomon_mongo.drivers import Client, Driver
from gnomon_sqlite import SqliteStore
from gnomon_web import WebPlugin
from measure import arguments, median, percentile, report, short
from mongo_append import find_server, server

JOBS = 20
WARM_UP_S, PAUSE_S = 2.0, 1.0
AIMS: dict[str, float] = {
    "follower_idle_cpu_percent": 1.0,
    "follower_lag_p99_ms": 300,
    "follower_lag_after_pause_max_ms": 300,
    "after_sigkill_max_s": 1.0,
    "after_stop_max_s": 0.3,
}
"""The most that each of these may be. On MongoDB the follower knows at once that a leader on the same machine is dead;
elsewhere it leads within the lease and 1 s."""


# --- a kernel ---


class Requests(monitoring.CommandListener):
    """Counts the requests to MongoDB."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:  # noqa: ARG002 - the driver passes it
        """Count one."""
        self.count += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Ignore the answer."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Ignore the answer."""


class CountedDriver(Driver):
    """A driver whose requests are counted, those of change streams, too."""

    def __init__(self, requests: Requests, name: Any = "motor") -> None:
        super().__init__(name)
        self._requests = requests

    def connect(self, uri: str, **options: Any) -> Client:
        """Return a client that counts."""
        return super().connect(uri, event_listeners=[self._requests], **options)

    def waiting(self) -> Driver:
        """Return another one."""
        return CountedDriver(self._requests, "pymongo")


def store_at(place: str, requests: Requests) -> Store:
    """Return the store of a log: a file, or the URI of a database."""
    if not place.startswith("mongodb"):
        return SqliteStore(place, synchronous="NORMAL")
    spool = Path(tempfile.mkdtemp()) / "spool.db"
    patience = timedelta(seconds=10)  # the daemon of the tests may take longer than the default of 2 s
    return MongoStore(place, "bench_followers", driver=CountedDriver(requests), spool=spool, timeout=patience)


class Leading:
    """Reports when this process leads: the lifespan of a plugin of the leader begins with the term."""

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Report the time."""
        send(leads=time.time())
        yield


async def serve(place: str) -> None:
    """Run a kernel, and do what the lines of the standard input say until it ends."""
    web = WebPlugin(WebPlugin.Config(port=0, max_connections=500))
    requests = Requests()
    store = store_at(place, requests)
    single = Job(id="single", func="time:time", every=timedelta(days=1))
    plugins = [web, Leading()]
    async with Kernel(role="auto", store=store, plugins=plugins, jobs=[single], drain=timedelta(0)) as kernel:
        send(url=web.url)
        while line := await asyncio.to_thread(sys.stdin.readline):
            match line.split():
                case ["cpu"]:
                    send(cpu_s=time.process_time(), requests=requests.count)
                case ["order", count]:
                    send(order_s=[await order(kernel) for _ in range(int(count))])
                case ["single", count]:
                    for _ in range(int(count)):
                        await asyncio.sleep(PAUSE_S)
                        await kernel.wait((await kernel.trigger("single")).execution.id)
                    send(position=kernel.health().position)
                case ["run", rate]:
                    begun = kernel.health().position
                    await run_jobs(kernel, float(rate))
                    send(begun=begun)
                case ["rest"]:
                    for number in range(JOBS):
                        await kernel.remove_job(f"job-{number}")
                    while not kernel.is_idle or kernel.health().running:  # noqa: ASYNC110 - as operators do
                        await asyncio.sleep(0.02)
                    send(position=kernel.health().position)
        began = time.time()
    send(stopped=time.time(), took_s=time.time() - began)


async def order(kernel: Kernel) -> float:
    """Return the seconds until an order is answered, after a pause."""
    await asyncio.sleep(PAUSE_S)
    begun = time.perf_counter()
    await kernel.pause("single")
    return time.perf_counter() - begun


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

    def __init__(self, place: str) -> None:
        self._place = place
        self.leader = Child("serve", place)
        self.leader.receive("leads")
        self.leader_url = self.leader.receive("url")["url"]
        self._follow()

    def _follow(self) -> None:
        self.follower = Child("serve", self._place)
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


def idle_cost(pair: Pair, seconds: float) -> dict[str, float]:
    """Return the share of a core that each uses without work, in percent, and the follower's requests in a minute."""
    time.sleep(WARM_UP_S)
    both, counts = {"leader": pair.leader, "follower": pair.follower}, []
    for wait in (seconds, 0.0):
        for child in both.values():
            child.say("cpu")
        counts.append({name: child.receive("cpu_s") for name, child in both.items()})
        time.sleep(wait)
    before, after = counts
    cpu = {name: (after[name]["cpu_s"] - before[name]["cpu_s"]) / seconds * 100 for name in both}
    requests = (after["follower"]["requests"] - before["follower"]["requests"]) / seconds * 60
    found = {f"{name}_idle_cpu_percent": short(percent) for name, percent in cpu.items()}
    return found | {"follower_idle_requests_per_minute": short(requests)}


def order_times(pair: Pair, count: int) -> dict[str, float]:
    """Return how long an order of the follower takes."""
    pair.follower.say(f"order {count}")
    times = sorted(pair.follower.receive("order_s")["order_s"])
    return {
        "order_p50_ms": short(percentile(times, 50) * 1000),
        "order_max_ms": short(times[-1] * 1000),
    }


@contextmanager
def watching(pair: Pair, viewers: int) -> Iterator[dict[str, Child]]:
    """Provide the viewers of both, which are connected."""
    urls = {"leader": pair.leader_url, "follower": pair.follower_url}
    watchers = {name: Child("watch", url, viewers) for name, url in urls.items()}
    try:
        for watcher in watchers.values():
            watcher.receive("ready")
        yield watchers
    finally:
        for watcher in watchers.values():
            watcher.kill()


def seen_by(watchers: dict[str, Child], head: int) -> dict[str, dict[str, Any]]:
    """Return what the viewers have measured when they have received everything up to this position."""
    for watcher in watchers.values():
        watcher.say(head)
    found = {name: watcher.receive("delays") for name, watcher in watchers.items()}
    return {name: one | {"delays": sorted(one["delays"])} for name, one in found.items()}


def single_lags(pair: Pair, count: int) -> dict[str, float]:
    """Return the lags of the events of runs that begin after a pause."""
    with watching(pair, 1) as watchers:
        for watcher in watchers.values():
            watcher.say()
        pair.leader.say(f"single {count}")
        found = seen_by(watchers, pair.leader.receive("position")["position"])
    return {
        "follower_lag_after_pause_p50_ms": short(percentile(found["follower"]["delays"], 50) * 1000),
        "follower_lag_after_pause_max_ms": short(found["follower"]["delays"][-1] * 1000),
        "leader_lag_after_pause_max_ms": short(found["leader"]["delays"][-1] * 1000),
    }


def lags(pair: Pair, rate: float, viewers: int, seconds: float) -> dict[str, float]:
    """Return the lags while many runs write events."""
    with watching(pair, viewers) as watchers:
        pair.leader.say(f"run {rate}")
        begun = pair.leader.receive("begun")["begun"]
        time.sleep(WARM_UP_S)
        for watcher in watchers.values():
            watcher.say()
        time.sleep(seconds)
        pair.leader.say("rest")
        head = pair.leader.receive("position")["position"]
        found = seen_by(watchers, head)
    figures = {
        f"{name}_lag_p{percent}_ms": short(percentile(one["delays"], percent) * 1000)
        for name, one in found.items()
        for percent in (50, 99)
    }
    return {"events": head - begun, "complete": found["follower"]["complete"]} | figures


def take_over_times(pair: Pair, rounds: int) -> dict[str, float]:
    """Return how long after the end of the leader the follower leads."""
    killed, stopped = [], []
    for _ in range(rounds):
        killed.append({"s": pair.change(pair.leader.kill)})
        stopped.append({"s": pair.change(lambda: float(pair.leader.stop()["stopped"]))})
    return {
        "after_sigkill_median_s": median(killed, "s"),
        "after_sigkill_max_s": short(max(one["s"] for one in killed)),
        "after_stop_median_s": median(stopped, "s"),
        "after_stop_max_s": short(max(one["s"] for one in stopped)),
    }


def measure(place: str, sizes: argparse.Namespace) -> dict[str, float]:
    """Measure once."""
    pair = Pair(place)
    try:
        return (
            idle_cost(pair, sizes.seconds)
            | order_times(pair, sizes.singles)
            | single_lags(pair, sizes.singles)
            | lags(pair, sizes.rate, sizes.viewers, sizes.seconds)
            | take_over_times(pair, sizes.rounds)
        )
    finally:
        pair.end()


def sentence(found: dict[str, dict[str, float]], rate: float) -> str:
    """Return the figures in words, with the aims."""

    def each(unit: str, name: str, most: str = "") -> str:
        values = [
            f"{store} {figures[name]} {unit}" + (f" (at most {figures[most]})" if most else "")
            for store, figures in found.items()
        ]
        aim = AIMS.get(most or name)
        return ", ".join(values) + (f" [aim: {aim:g} {unit}]" if aim is not None else "")

    lag = "follower_lag_after_pause"
    return "; ".join(
        (
            f"CPU of an idle follower: {each('%', 'follower_idle_cpu_percent')}",
            f"of an idle leader: {each('%', 'leader_idle_cpu_percent')}",
            f"requests of an idle follower: {each('a minute', 'follower_idle_requests_per_minute')}",
            f"lag of a follower's viewers after a pause: {each('ms', f'{lag}_p50_ms', f'{lag}_max_ms')}",
            f"p99 at {rate:g} runs/s: {each('ms', 'follower_lag_p99_ms')}",
            f"of the leader's viewers: {each('ms', 'leader_lag_p99_ms')}",
            f"a follower's order after a pause: {each('ms', 'order_p50_ms', 'order_max_ms')}",
            f"it leads after a SIGKILL of the leader: {each('s', 'after_sigkill_median_s', 'after_sigkill_max_s')}",
            f"after a stop: {each('s', 'after_stop_median_s', 'after_stop_max_s')}.",
        )
    )


def main() -> None:
    """Measure, or run as one of the child processes."""
    errors = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), logger_factory=errors)
    match sys.argv[1:]:
        case ["serve", place]:
            asyncio.run(serve(place))
        case ["watch", url, viewers]:
            asyncio.run(watch(url, int(viewers)))
        case _:
            sizes = arguments(__doc__ or "", seconds=10, rate=200, viewers=5, singles=20, rounds=5, mongo=1)
            found: dict[str, dict[str, float]] = {}
            with tempfile.TemporaryDirectory() as folder:
                found["SQLite"] = measure(f"{folder}/gnomon.db", sizes)
            if sizes.mongo and (program := find_server()) is not None:
                with server(program) as uri:
                    found["MongoDB"] = measure(uri, sizes)
            report("followers", sentence(found, sizes.rate), rate=sizes.rate, aims=AIMS, **found)


if __name__ == "__main__":
    main()
