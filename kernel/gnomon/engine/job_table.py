"""The jobs that a kernel serves, by id. The registry alone changes the table; everything else reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gnomon.errors import AttachedJobError, JobError, UnknownJobError
from gnomon.jobs.registered import RegisteredJob
from gnomon.safe_text import safe_repr
from gnomon.text import close_match


class JobTable:
    """Registered jobs by id, in the order in which they were added."""

    def __init__(self, jobs: Iterable[RegisteredJob] = ()) -> None:
        self._jobs: dict[str, RegisteredJob] = {}
        self.broken: dict[str, str] = {}
        """Why a job cannot run, by id."""
        self.attached: Callable[[str], str | None] = lambda _: None
        """Returns the name of the attached scheduler that has a job, or None."""
        self.changes = 0
        """How often the table was changed."""
        self.downstream: dict[str, dict[str, None]] = {}
        """For each job that others wait for, the ids of those."""
        for registered in jobs:
            self.add(registered)

    def __iter__(self) -> Iterator[RegisteredJob]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def __getitem__(self, job_id: str) -> RegisteredJob:
        """Return a job; UnknownJobError suggests an id that is spelled similarly."""
        if not isinstance(job_id, str):
            raise JobError(f"expected the id of a job, got {safe_repr(job_id)}")
        if (registered := self._jobs.get(job_id)) is None:
            self.expect_own(job_id)
            raise UnknownJobError(job_id, close_match(job_id, self._jobs))
        return registered

    def expect(self, job_id: str) -> None:
        """Raise UnknownJobError where there is no job with that id."""
        _ = self[job_id]

    def expect_own(self, job_id: str) -> None:
        """Raise AttachedJobError for a job of an attached scheduler."""
        if (source := self.attached(job_id)) is not None:
            raise AttachedJobError(job_id, source)

    def get(self, job_id: str) -> RegisteredJob | None:
        """Return a job, or None."""
        return self._jobs.get(job_id)

    def find_defined(self, job_id: str) -> RegisteredJob | None:
        """Return a job that a config, code or a plugin defines, or None."""
        registered = self._jobs.get(job_id)
        return registered if registered is not None and registered.origin != "api" else None

    def add(self, registered: RegisteredJob) -> None:
        """Add a job; JobError where its id is taken."""
        if self._jobs.setdefault(registered.job.id, registered) is not registered:
            raise JobError(f"two jobs have the id {registered.job.id!r}; ids must be unique")
        self._link(registered)

    def put(self, registered: RegisteredJob) -> None:
        """Add a job, or replace the one with its id."""
        self.changes += 1
        self._unlink(registered.job.id)
        self._jobs[registered.job.id] = registered
        if registered.problem is not None:
            self.broken[registered.job.id] = registered.problem
        elif self.broken:
            self.broken.pop(registered.job.id, None)
        self._link(registered)

    def remove(self, job_id: str) -> None:
        """Remove a job."""
        self._unlink(job_id)
        del self._jobs[job_id]
        self.broken.pop(job_id, None)

    def replace_defined(self, jobs: Iterable[RegisteredJob]) -> None:
        """Replace the jobs of config, code and plugins; those that were added at run time stay."""
        self.changes += 1
        added = [registered for registered in self._jobs.values() if registered.origin == "api"]
        self._jobs = {registered.job.id: registered for registered in (*jobs, *added)}
        self.downstream = {}
        for registered in self._jobs.values():
            self._link(registered)

    def _link(self, registered: RegisteredJob) -> None:
        for upstream in registered.job.after:
            self.downstream.setdefault(upstream, {})[registered.job.id] = None

    def _unlink(self, job_id: str) -> None:
        registered = self._jobs.get(job_id)
        for upstream in registered.job.after if registered is not None else ():
            waiting = self.downstream.get(upstream, {})
            waiting.pop(job_id, None)
            if not waiting:
                self.downstream.pop(upstream, None)
