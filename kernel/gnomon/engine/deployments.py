"""Which definitions count when processes with different ones share a log: a take-over is not a deployment.

A deployment is a set of definitions that a start, or a reload, has put in force. It has a number in the log, which
rises with each set that differs from the one before. Where the program has a revision, the log has it as well, and the
newest one so far. When a process comes to lead:

    its revision         the log             it leads with
    is newer             than all so far     its own definitions: they count from now on
    is older, or none    has one             the definitions of the log; its health says so
    is the same,         has the same        them; the number stays
     or neither has one   definitions
                         has others          its own, at its start, and later unless another deployment was made since
                                             it was started: then with those of the log

Without revisions, a process that is started with the definitions of an earlier deployment is a rollback or an old
process that was started late: nobody can tell. Its definitions count when it takes over, and a warning says so.

A reload is an order of an operator: its definitions count, whatever their revision. The log still knows the
newest revision, so a late process with what was rolled back does not bring it back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from gnomon.domain.events import KernelLed
from gnomon.domain.job_state import JobState
from gnomon.domain.revision import Revision
from gnomon.engine.logged_jobs import LoggedJobs
from gnomon.errors import SHOWN_PROBLEMS, JobError
from gnomon.jobs.registered import RegisteredJob
from gnomon.logs import get_logger
from gnomon.ports import Store
from gnomon.stores.reading import newest_kernel_fact

log = get_logger("gnomon.engine.deployments")

_encoder = msgspec.json.Encoder(order="deterministic")


class DeploymentMark(msgspec.Struct, frozen=True):
    """A deployment: its number, 0 before the first, and the digest and the revision of its definitions.

    `newest` is the newest revision so far, also after a reload has gone back to an older one.
    """

    number: int = 0
    digest: str = ""
    revision: Revision | None = None
    newest: Revision | None = None

    def is_behind(self, revision: Revision | None) -> bool:
        """Return whether definitions of a revision do not count any more: newer ones have, or it was rolled back."""
        return revision != self.revision and not self.is_before(revision)

    def is_before(self, revision: Revision | None) -> bool:
        """Return whether a revision is newer than all revisions so far."""
        return revision is not None and (self.newest is None or revision > self.newest)

    def followed_by(self, digest: str, revision: Revision | None) -> DeploymentMark:
        """Return the mark of definitions that are put in force after these."""
        number = self.number if digest == self.digest else self.number + 1
        return DeploymentMark(number, digest, revision, revision if self.is_before(revision) else self.newest)


class Decision(msgspec.Struct, frozen=True):
    """The deployment that counts. `jobs` are those of the log, where they replace the ones of the process.

    `logged` is the number of the one before. `problem` says that the process is of an older revision.
    """

    mark: DeploymentMark
    logged: int
    jobs: list[RegisteredJob] | None = None
    problem: str | None = None


def digest_of(jobs: Iterable[RegisteredJob]) -> str:
    """Return a digest of the definitions of jobs: equal sets have the same digest in every process."""
    digest = hashlib.blake2b(digest_size=12)
    for registered in sorted(jobs, key=lambda one: one.job.id):
        digest.update(_encoder.encode(registered.definition))
    return digest.hexdigest()


async def decide(
    store: Store,
    now: datetime,
    seen: int | None,
    defined: list[RegisteredJob],
    states: Iterable[JobState],
    revision: Revision | None = None,
) -> Decision:
    """Return what `decide_deployment` says about the deployment in a log; warn where an earlier one is back."""
    logged = await read_deployment(store, now)
    decision = decide_deployment(logged, seen, defined, states, revision)
    mark = decision.mark
    if seen is not None and mark.number > logged.number and not logged.is_before(revision):
        # It followed a kernel with other definitions before.
        earlier = await _newest_led(store, now, lambda led: led.digest == mark.digest)
        if earlier is not None:
            log.warning(
                "definitions of an earlier deployment are in force again: if that is not a rollback, start the "
                "processes with the newer ones again; with `revision` in [kernel] the log can tell",
                deployment=mark.number,
                same_as=earlier.deployment,
                replaced=logged.number,
            )
    return decision


async def read_deployment(store: Store, now: datetime) -> DeploymentMark:
    """Return the deployment that is in force in a log."""
    led = await _newest_led(store, now, lambda _: True)
    return mark_of(led) if led is not None else DeploymentMark()


def mark_of(led: KernelLed) -> DeploymentMark:
    """Return the deployment that a fact has put in force."""
    revision, newest = (Revision.parse(text) if text else None for text in (led.revision, led.newest_revision))
    return DeploymentMark(led.deployment, led.digest, revision, newest)


async def _newest_led(store: Store, now: datetime, wanted: Callable[[KernelLed], bool]) -> KernelLed | None:
    soon = now + timedelta(hours=1)  # also where the clock was set back a little
    found = await newest_kernel_fact(store, soon, lambda fact: isinstance(fact, KernelLed) and wanted(fact))
    return found if isinstance(found, KernelLed) else None


def reloaded(logged: DeploymentMark, digest: str, revision: Revision | None) -> DeploymentMark:
    """Return the mark of definitions that a reload puts in force; warn where their revision is not the newest."""
    mark = logged.followed_by(digest, revision)
    if mark.revision != mark.newest and mark != logged:
        log.warning(
            "a reload has put the definitions of an older revision in force: they count until a newer one than all "
            "before is started or reloaded",
            revision=str(revision) if revision is not None else None,
            newest=str(mark.newest),
        )
    return mark


def decide_deployment(
    logged: DeploymentMark,
    seen: int | None,
    defined: list[RegisteredJob],
    states: Iterable[JobState],
    revision: Revision | None = None,
) -> Decision:
    """Return the deployment that counts from now on, for a process with these definitions, of this revision.

    `seen` is the number that the process knew, None at its start; JobError where it cannot build the jobs of the log.
    """
    own = digest_of(defined)
    if logged.is_behind(revision):
        problem = f"{behind(logged, revision)}: it leads with the definitions of the log; {_way_back(logged)}"
        log.warning("this process is of an older revision", problem=problem)
        way_back = f", or give it a revision above {logged.newest} to go back"
        return Decision(
            logged, logged.number, None if own == logged.digest else _jobs_of_log(states, defined, way_back), problem
        )
    if seen is None or logged.number <= seen or logged.digest == own or logged.is_before(revision):
        return Decision(logged.followed_by(own, revision), logged.number)
    log.warning(
        "another deployment was made since this process was started: its definitions stay, and those of this process "
        "count when it is started again",
        deployment=logged.number,
    )
    return Decision(logged, logged.number, _jobs_of_log(states, defined))


def problem_of_follower(logged: DeploymentMark, revision: Revision | None) -> str | None:
    """Return what a process that follows says about its revision, None where it is not older than that of the log."""
    if not logged.is_behind(revision):
        return None
    return f"{behind(logged, revision)}: if it comes to lead, it leads with the definitions of the log; {START_NEWER}"


def behind(logged: DeploymentMark, revision: Revision | None) -> str:
    """Return in words that the definitions of a log are of another revision than a process."""
    in_force = "the log has definitions without one"
    if logged.revision is not None:
        in_force = f"the log has revision {logged.revision}"
    if revision is None:
        return f"this process has no revision, and {in_force}"
    rolled_back = logged.revision is None or revision > logged.revision
    return f"this process is of revision {revision}, {'which was rolled back: ' if rolled_back else 'and '}{in_force}"


START_NEWER = "start the newer version in its place"


def _way_back(logged: DeploymentMark) -> str:
    return (
        f"{START_NEWER}, or, to go back to its own on purpose, give it a revision above {logged.newest} "
        "or run `gnomon reload`"
    )


def _jobs_of_log(
    states: Iterable[JobState], defined: Iterable[RegisteredJob], way_back: str = ""
) -> list[RegisteredJob]:
    jobs = [job for state, job in LoggedJobs(defined).of(states) if state.origin not in {"api", "attached"}]
    broken = {job.job.id: job.problem for job in jobs if job.problem is not None}
    if broken:
        named = "; ".join(f"{job_id}: {problem}" for job_id, problem in list(broken.items())[:SHOWN_PROBLEMS])
        raise JobError(
            "this process has older definitions than the log, and cannot lead with those of the log, because it cannot "
            f"build {len(broken):,} of their jobs ({named}): start it again with the present code{way_back}"
        )
    return jobs
