"""The result of an import: the jobs, those that were refused with the reasons, and what differs for those taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec

from gnomon.errors import GnomonError, JobKeysError
from gnomon.jobs.definition import convert_job
from gnomon.jobs.ended_schedules import expect_fires
from gnomon.jobs.job import Job
from gnomon.jobs.registered import check_job

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
LONGEST_ID = 128


class NotTakenError(Exception):
    """A part of a foreign job has no counterpart in Gnomon; the text is the reason."""


class RefusedJob(msgspec.Struct, frozen=True):
    """A job that was left where it is, and why. `name` is its id in the other scheduler, or its place in a file."""

    name: str
    reason: str


class ImportNote(msgspec.Struct, frozen=True):
    """Something that is different for a job that was taken, or for all of them: then `job_id` is empty."""

    job_id: str
    text: str


class JobImport(msgspec.Struct):
    """What an import found in `source`. The jobs are checked and are not part of any kernel yet."""

    source: str
    jobs: list[Job] = []
    refused: list[RefusedJob] = []
    notes: list[ImportNote] = []

    def lines(self) -> Iterator[str]:
        """Yield the lines of a report for people."""
        yield f"{_count(len(self.jobs), 'job')} taken from {self.source}"
        for note in self.notes:
            yield f"note: {note.job_id}: {note.text}" if note.job_id else f"note: {note.text}"
        if self.refused:
            yield f"{_count(len(self.refused), 'job')} not taken:"
            yield from (f"  {one.name}: {one.reason}" for one in self.refused)

    def refuse(self, name: str, reason: object) -> None:
        """Record that a job is not taken."""
        self.refused.append(RefusedJob(name, str(reason)))

    def note(self, text: str, job_id: str = "") -> None:
        """Record what is different, once."""
        if (note := ImportNote(job_id, text)) not in self.notes:
            self.notes.append(note)

    def take(self, name: str, keys: Mapping[str, Any], timezone: str) -> Job | None:
        """Add the job with these keys if a kernel could run it; else refuse it with all its problems."""
        try:
            job = convert_job(dict(keys), f"job {name!r}")
        except GnomonError as exc:
            self.refuse(name, _one_line(exc))
            return None
        problems = check_problems(job, timezone)
        if problems:
            self.refuse(name, "; ".join(problems))
            return None
        try:
            expect_fires(job, job.build_trigger(), datetime.now(UTC))
        except JobKeysError as exc:
            self.note(f"its schedule {exc.problems[0][0]} has no fire to come, so it has keep = true", job.id)
            job = msgspec.structs.replace(job, keep=True)
        self.jobs.append(job)
        return job

    def free_id(self, wanted: str) -> str:
        """Return a valid job id that is not taken: `wanted` itself, or one made from it."""
        return free_id(wanted, {job.id for job in self.jobs})


def check_problems(job: Job, timezone: str) -> list[str]:
    """Return the reasons for which a kernel could not run a job; its function is imported."""
    problems: list[Any] = []
    check_job(job, timezone, problems)
    return [_one_line(problem.error).removeprefix(f"job {job.id!r}: ") for problem in problems]


def free_id(wanted: str, taken: Iterable[str]) -> str:
    """Return `wanted` as a valid job id, with a number where it is taken.

    What an id may not have becomes `-`, followed by a digest of the original, so that two ids stay two.
    """
    taken = set(taken)
    base = wanted if JOB_ID.fullmatch(wanted) else _valid_id(wanted)
    found, number = base, 2
    while found in taken:
        found, number = f"{base[: LONGEST_ID - 6]}-{number}", number + 1
    return found


def _valid_id(text: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9._:-]+", "-", text).strip("-._:")[:100] or "job"
    return f"{kept}-{blake2b(text.encode('utf-8', 'backslashreplace'), digest_size=3).hexdigest()}"


def _one_line(exc: GnomonError) -> str:
    return "; ".join(str(exc).splitlines())


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
