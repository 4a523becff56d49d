"""A process that appends to a log without pause, and prints each position that was acknowledged.

Usage: python append_writer.py PLACE SPOOL DRIVER LEASE_S, where PLACE is one of log_places
"""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

from gnomon.domain import execution
from gnomon.domain.events import ExecutionEvent, Progress, Succeeded
from gnomon.domain.job_state import JobState
from gnomon.testing.histories import NOON, extend, failed, job_added, job_states, numbered, running
from log_places import store_of


class AppendWriter:
    """A kernel's store in its own process."""

    def __init__(self, place: str, spool: Path, driver: str, lease_s: int = 5) -> None:
        command = [sys.executable, __file__, place, str(spool), driver, str(lease_s)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._told: queue.Queue[int | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.acknowledged = 0

    def expect(self, appends: int) -> None:
        """Wait for that many more acknowledgements."""
        for _ in range(appends):
            position = self._told.get(timeout=100)
            assert position is not None, "the writer ended by itself"
            self.acknowledged = position

    def expect_after(self, position: int) -> None:
        """Wait until a position after this one is acknowledged."""
        while self.acknowledged <= position:
            self.expect(1)

    def stop(self) -> None:
        """Stop it, until `go_on`, and wait until it has stopped."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> int:
        """Kill it; return the highest position that it had told of."""
        self._process.kill()
        assert self._process.wait() == -signal.SIGKILL
        self._reader.join()
        while (position := self._told.get()) is not None:
            self.acknowledged = position
        return self.acknowledged

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.startswith("kept ") and line.endswith("\n"):  # else it is what the store logs
                    self._told.put(int(line.split()[1]))
        self._told.put(None)


async def main(place: str, spool: str, driver: str, lease_s: str) -> None:
    """Append runs of seven jobs, some of them failed, until the process is killed."""
    limits = {
        "timeout": timedelta(seconds=2),
        "patience": timedelta(seconds=60),
        "lease": timedelta(seconds=int(lease_s)),
    }
    async with store_of(place, Path(spool), driver=driver, cut_off="run", **limits) as store:
        start = head = await store.head()
        jobs: dict[str, JobState] = {}
        for n in range(100_000):
            name, at = f"job_{start}_{n % 7}", NOON + timedelta(seconds=head)
            history = running(name, at, is_manual=n % 5 == 0, actor="ann")
            history = extend(extend(history, Progress, percent=float(n % 100)), Succeeded, execution_time=1.0)
            other = failed(f"bad_{n % 3}", at)
            new_job = job_added(name, at) if n < 7 else []
            known = [*history[:2]], [*history[:3]], [*history, *other]
            for told, new in zip(known, (new_job + history[:2], history[2:3], history[3:] + other), strict=True):
                batch = numbered(new, after=head)
                streams = {event.stream: [one for one in told if one.stream == event.stream] for event in new}
                runs = [stream for stream in streams.values() if stream and isinstance(stream[0], ExecutionEvent)]
                states = job_states(batch, jobs.values())
                jobs |= {state.job_id: state for state in states}
                await store.append(batch, [execution.fold(stream) for stream in runs], states)
                head = batch[-1].position
                print("kept", head, flush=True)
                await asyncio.sleep(0.004)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
