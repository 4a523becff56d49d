"""Which definitions count when processes with different ones share a log: a take-over is not a deployment.

A deployment is a set of definitions that a start, or a reload, has put in force. It has a number in the log, which
rises with each set that differs from the one before. A process reads the number when it starts. When it leads later:

    the definitions are those of the log    it leads with them, and the number stays
    no other deployment was made since      the process was started by hand with newer definitions: they count from now
    another one was made meanwhile          its own definitions are older: it leads with those of the log

A process that is started with the definitions of an earlier deployment is a rollback or an old process that was started
late: nobody can tell. Its definitions count when it takes over, and a warning says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from gnomon.domain.events import KernelLed
from gnomon.domain.job_state import JobState
from gnomon.engine.logged_jobs import LoggedJobs
from gnomon.errors import SHOWN_PROBLEMS, JobError
from gnomon.jobs.registered import RegisteredJob
from gnomon.logs import get_logger
from gnomon.ports import Store
from gnomon.stores.reading import newest_kernel_fact

log = get_logger("gnomon.engine.deployments")

_encoder = msgspec.json.Encoder(order="deterministic")


class DeploymentMark(msgspec.Struct, frozen=True):
    """The number of a deployment, 0 before the first, and the digest of its definitions."""

    number: int = 0
    digest: str = ""


def digest_of(jobs: Iterable[RegisteredJob]) -> str:
    """Return a digest of the definitions of jobs: equal sets have the same digest in every process."""
    digest = hashlib.blake2b(digest_size=12)
    for registered in sorted(jobs, key=lambda one: one.job.id):
        digest.update(_encoder.encode(registered.definition))
    return digest.hexdigest()


async def decide(
    store: Store, now: datetime, seen: int | None, defined: list[RegisteredJob], states: Iterable[JobState]
) -> tuple[DeploymentMark, list[RegisteredJob] | None]:
    """Return what `decide_deployment` says about the deployment in a log; warn where an earlier one is back."""
    logged = await read_deployment(store, now)
    mark, jobs = decide_deployment(logged, seen, defined, states)
    if seen is not None and mark.number > logged.number:  # it followed a kernel with other definitions before
        earlier = await _newest_led(store, now, lambda led: led.digest == mark.digest)
        if earlier is not None:
            log.warning(
                "definitions of an earlier deployment are in force again: if that is not a rollback, start the "
                "processes with the newer ones again",
                deployment=mark.number,
                same_as=earlier.deployment,
                replaced=logged.number,
            )
    return mark, jobs


async def read_deployment(store: Store, now: datetime) -> DeploymentMark:
    """Return the deployment that is in force in a log."""
    led = await _newest_led(store, now, lambda _: True)
    return DeploymentMark(led.deployment, led.digest) if led is not None else DeploymentMark()


async def _newest_led(store: Store, now: datetime, wanted: Callable[[KernelLed], bool]) -> KernelLed | None:
    soon = now + timedelta(hours=1)  # also where the clock was set back a little
    found = await newest_kernel_fact(store, soon, lambda fact: isinstance(fact, KernelLed) and wanted(fact))
    return found if isinstance(found, KernelLed) else None


def next_mark(logged: DeploymentMark, digest: str) -> DeploymentMark:
    """Return the mark of definitions that are put in force after those of the log."""
    return logged if logged.digest == digest else DeploymentMark(logged.number + 1, digest)


def decide_deployment(
    logged: DeploymentMark, seen: int | None, defined: list[RegisteredJob], states: Iterable[JobState]
) -> tuple[DeploymentMark, list[RegisteredJob] | None]:
    """Return the deployment that counts from now on, for a process with these definitions.

    The jobs are those of the log, where they replace the ones of the process, else None. `seen` is the number that the
    process knew, None at its start; JobError where it cannot build the jobs of the log.
    """
    own = digest_of(defined)
    if seen is None or logged.number <= seen or logged.digest == own:
        return next_mark(logged, own), None
    log.warning(
        "another deployment was made since this process was started: its definitions stay, and those of this process "
        "count when it is started again",
        deployment=logged.number,
    )
    return logged, _jobs_of_log(states, defined)


def _jobs_of_log(states: Iterable[JobState], defined: Iterable[RegisteredJob]) -> list[RegisteredJob]:
    jobs = [job for state, job in LoggedJobs(defined).of(states) if state.origin not in {"api", "attached"}]
    broken = {job.job.id: job.problem for job in jobs if job.problem is not None}
    if broken:
        named = "; ".join(f"{job_id}: {problem}" for job_id, problem in list(broken.items())[:SHOWN_PROBLEMS])
        raise JobError(
            "this process has older definitions than the log, and cannot lead with those of the log, because it cannot "
            f"build {len(broken):,} of their jobs ({named}): start it again with the present code"
        )
    return jobs
