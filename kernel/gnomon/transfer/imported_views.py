"""The views of runs and jobs that an import writes with their events: folded as the journal does, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gnomon.domain.events import Event, ExecutionEvent
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.own_copies import own_state, own_view
from gnomon.ports import Store
from gnomon.stores.view_folds import concerns_job, fold_jobs, fold_runs
from gnomon.tasks import at_once

KEPT = 20_000
"""Unfinished runs, and jobs, of which the views are kept; those of others are read again."""
AT_ONCE = 16


class ImportedViews:
    """Views as of the newest event that was folded. `changes` counts by job and status how many more runs there are."""

    def __init__(self, store: Store) -> None:
        self.changes: Counter[tuple[str, str]] = Counter()
        self._store = store
        self._runs: dict[str, Execution] = {}
        self._jobs: dict[str, JobState] = {}

    async def fold(
        self, events: Sequence[Event], given: Mapping[str, Execution]
    ) -> tuple[list[Execution], list[JobState]]:
        """Fold events; return the views that changed. `given` are views of runs whose progress was pruned.

        Those may be ahead of the events, which are not folded again then.
        """
        await self._load_runs(events)
        jobs = {event.job_id for event in events if concerns_job(event)}
        await self._load_jobs(jobs - self._jobs.keys())
        runs = {event.stream for event in events if isinstance(event, ExecutionEvent) and self._fold_run(event, given)}
        fold_jobs(self._jobs, events)
        states = [own_state(self._jobs[job_id]) for job_id in sorted(jobs & self._jobs.keys())]
        views = [own_view(self._runs[run]) for run in sorted(runs)]
        self._forget(views)
        return views, states

    def forget_jobs(self, job_ids: Iterable[str]) -> None:
        """Read the states of these jobs again when they are needed next."""
        for job_id in job_ids:
            self._jobs.pop(job_id, None)

    async def _load_runs(self, events: Sequence[Event]) -> None:
        """Read the views of runs that began in an earlier batch, and are not kept."""
        first: dict[str, Event] = {}
        for event in events:
            if isinstance(event, ExecutionEvent):
                first.setdefault(event.stream, event)
        wanted = [stream for stream, event in first.items() if event.version > 1 and stream not in self._runs]
        for start in range(0, len(wanted), AT_ONCE):
            found = await at_once(*map(self._store.execution, wanted[start : start + AT_ONCE]))
            self._runs |= {run.id: run for run in found if run is not None}

    async def _load_jobs(self, job_ids: set[str]) -> None:
        if job_ids:
            self._jobs |= {state.job_id: state for state in await self._store.jobs(job_ids)}

    def _fold_run(self, event: ExecutionEvent, given: Mapping[str, Execution]) -> bool:
        """Fold an event into its run; return whether the run has a view."""
        stream, whole = event.stream, given.get(event.stream)
        old = self._runs.get(stream)
        old_status = old.status if old is not None else None
        if whole is not None and event.version <= whole.version:
            self._runs[stream] = whole
        elif old is None or event.version > old.version:
            fold_runs(self._runs, [event])
        run = self._runs.get(stream)
        if run is None:
            return False
        if run.status != old_status:
            self.changes[run.job_id, run.status] += 1
            if old_status is not None:
                self.changes[run.job_id, old_status] -= 1
        return True

    def _forget(self, changed: Iterable[Execution]) -> None:
        for run in changed:
            if run.is_over:
                self._runs.pop(run.id, None)
        for views in (self._runs, self._jobs):
            while len(views) > KEPT:
                del views[next(iter(views))]
