"""`gnomon workers`: the workers elsewhere and the queues of a running kernel."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from elsewhere_runner import Elsewhere, ElsewherePlugin, job_elsewhere
from gnomon import BackgroundKernel, QueueState, WorkerState, WorkerView
from gnomon_sqlite import SqliteStore

Run = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = "[plugins.sqlite]\n"


def test_workers_and_queues_are_listed_and_a_queue_without_a_worker_is_a_failure(folder: Path, gnomon: Run) -> None:
    (folder / "gnomon.toml").write_text(CONFIG)
    elsewhere = Elsewhere()
    busy = WorkerState(name="celery@a", node="n1", pid=7, pool="prefork", concurrency=4, active=3, queues=["mails"])
    elsewhere.view = WorkerView(workers=[busy], queues=[QueueState(name="mails", workers=1, length=2)])
    jobs = job_elsewhere("mail", "mails"), job_elsewhere("report", "reports")
    with BackgroundKernel(
        store=SqliteStore(folder / "gnomon.db"), jobs=jobs, plugins=[ElsewherePlugin(elsewhere)]
    ) as kernel:
        listed = gnomon("workers")
        assert (listed.returncode, listed.stderr) == (0, "")
        assert [line.split() for line in listed.stdout.splitlines() if line] == [
            ["WORKER", "STATE", "RUNS", "QUEUES", "RUNNER", "POOL", "PROCESS", "VERSION", "LAST", "SEEN"],
            ["celery@a", "●", "online", "3/4", "mails", "elsewhere", "prefork", "7", "on", "n1", "-", "-"],
            ["QUEUE", "RUNNER", "WORKERS", "WAITING", "MESSAGES", "WAITS", "SINCE"],
            ["mails", "elsewhere", "1", "0", "2", "-"],
        ]

        run = kernel.trigger("report").execution.id
        found = gnomon("workers", "--json")
        assert found.returncode == 1
        view = json.loads(found.stdout)
        assert [(queue["name"], queue["workers"], queue["waiting"]) for queue in view["queues"]] == [
            ("mails", 1, 0),
            ("reports", 0, 1),
        ]
        told = gnomon("workers")
        assert told.returncode == 1
        assert "1 run waits in queue 'reports' of runner 'elsewhere', and no worker takes bodies from it" in told.stderr

        status = gnomon("status")
        assert status.returncode == 1
        assert "state    degraded: 1 run waits in queue 'reports' of runner 'elsewhere', and no worker" in status.stdout
        assert status.stdout.splitlines()[-3:] == [
            "worker   celery@a: online, 3 of 4 busy, queues mails",
            "queue    mails: 1 worker, 0 runs waiting",
            "queue    reports: no workers, 1 run waiting",
        ]

        kernel.cancel(run)
        kernel.wait(run)
        elsewhere.view = RuntimeError("the broker cannot be reached")
        broken = gnomon("workers")
        assert broken.returncode == 1
        assert "the workers of runner 'elsewhere' cannot be listed: the broker cannot be reached" in broken.stderr


def test_a_kernel_without_workers_says_so_and_without_a_kernel_there_is_no_answer(folder: Path, gnomon: Run) -> None:
    (folder / "gnomon.toml").write_text(CONFIG)
    with BackgroundKernel(store=SqliteStore(folder / "gnomon.db")):
        listed = gnomon("workers")
    nobody = gnomon("workers")

    assert (listed.returncode, "no workers: every body runs" in listed.stdout) == (0, True)
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "gnomon: " in nobody.stderr
