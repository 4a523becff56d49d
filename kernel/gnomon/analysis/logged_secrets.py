"""Finds secrets that a log holds in plain text: in definitions of jobs, and in the arguments of runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from gnomon.domain.events import Event, JobAdded, JobChanged, Scheduled
from gnomon.domain.secret_references import places_of_references
from gnomon.jobs.plain_secrets import plain_secrets

ARGUMENTS = ("args", "kwargs")
REPLACED = "the job has a reference to a secret there now"


class LoggedSecret(msgspec.Struct):
    """A value in plain text at a place of a job's arguments: how many events hold it, and the first and the last one.

    The value itself is never part of it.
    """

    job_id: str
    place: str
    reason: str
    events: int
    first_position: int
    last_position: int


class LoggedSecrets:
    """Collects what the events of a log hold. `definitions` are those of the present jobs, by id."""

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        self._definitions = definitions
        self._found: dict[tuple[str, str], LoggedSecret] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Read the next events of the log."""
        for event in events:
            for name, value in _arguments(event):
                for place, reason in dict(self._plain(event.job_id, name, value)).items():
                    self._note(event, place, reason)

    def listed(self) -> list[LoggedSecret]:
        """Return what was found, by job and place."""
        return sorted(self._found.values(), key=lambda found: (found.job_id, found.place))

    def _plain(self, job_id: str, name: str, value: Any) -> Iterator[tuple[str, str]]:
        yield from plain_secrets(value, name)
        present = self._definitions.get(job_id, {}).get(name)
        for place in places_of_references(value, present, name):
            yield place, REPLACED

    def _note(self, event: Event, place: str, reason: str) -> None:
        found = self._found.setdefault(
            (event.job_id, place), LoggedSecret(event.job_id, place, reason, 0, event.position, event.position)
        )
        found.reason = reason
        found.events += 1
        found.last_position = event.position


def _arguments(event: Event) -> Iterator[tuple[str, Any]]:
    match event:
        case Scheduled(args=args, kwargs=kwargs):
            yield from zip(ARGUMENTS, (args, kwargs), strict=True)
        case JobAdded(definition=keys) | JobChanged(changes=keys):
            yield from ((name, keys[name]) for name in ARGUMENTS if keys.get(name))
