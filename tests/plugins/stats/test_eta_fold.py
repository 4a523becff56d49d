"""How well the time left was estimated: counted from the log, equal to the kernel's own estimates of each run."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon import CancelRequested, Event, Failed, Progress, Started, Succeeded
from gnomon.domain.estimates import TYPICAL_RUNS, eta_of, past_run
from gnomon.domain.execution import Execution, begin
from gnomon.domain.records import Checkpoint
from gnomon.stores.memory import MemoryStore
from gnomon.testing.histories import NOON, append, extend, numbered, scheduled
from gnomon_stats.checkpoint import CHECKPOINT, from_checkpoint, to_checkpoint
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.report import job_statistics
from gnomon_stats.verification import verify

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)


def history(
    at: datetime, seconds: float, reports: Sequence[float] = (), *, ends: str = "success", stop: bool = False
) -> list[Event]:
    """Return a run of that many seconds, which reports percentages at even distances."""
    found = extend(scheduled("job", at), Started, runner="async", after=0 * SECOND)
    pause = seconds / (len(reports) + 1) * SECOND
    for number, percent in enumerate(reports):
        found = extend(found, Progress, pause, percent=percent, step=f"step {number}")
    if stop:
        found = extend(found, CancelRequested, 0 * SECOND, actor="ann")
    if ends == "success":
        return extend(found, Succeeded, pause, execution_time=seconds)
    return extend(found, Failed, pause, reason="exception", execution_time=seconds)


def counted(log: Sequence[Event]) -> Statistics:
    statistics = Statistics()
    fold(statistics, log)
    return statistics


def recount(log: Sequence[Event]) -> dict[str, list[int]]:
    """Check the estimates as the kernel makes them, from its own view of each run and of the successes before."""
    runs: dict[str, Execution] = {}
    past: list[Execution] = []
    given_at: defaultdict[str, dict[str, tuple[datetime, float, float]]] = defaultdict(dict)
    found = {"start": [0, 0, 0], "halfway": [0, 0, 0]}
    for event in log:
        before = (runs[event.stream].progress.percent or 0.0) if event.stream in runs else 0.0
        if event.stream in runs:
            runs[event.stream].apply(event)
        else:
            runs[event.stream] = begin(event)
        run = runs[event.stream]
        newest = [past_run(one) for one in past[-TYPICAL_RUNS:]]
        is_half = isinstance(event, Progress) and before < 50 <= (run.progress.percent or 0.0)
        if isinstance(event, Started) or is_half:
            eta = eta_of(run, newest, event.at)
            if eta is not None:
                given_at[run.id]["halfway" if is_half else "start"] = (event.at, eta.low, eta.high)
        if isinstance(event, CancelRequested):
            given_at.pop(run.id, None)
        if isinstance(event, Succeeded):
            for name, (at, low, high) in given_at[run.id].items():
                rest = (event.at - at) / SECOND
                found[name][1 if rest < low - 0.5 else 2 if rest > high + 0.5 else 0] += 1
            past.append(run)
    return found


RUN = st.tuples(
    st.floats(1, 600),
    st.lists(st.floats(0, 100), max_size=4),
    st.sampled_from(["success", "success", "success", "failed"]),
    st.sampled_from([False, False, False, True]),
)


@given(st.lists(RUN, max_size=30), st.data())
@settings(max_examples=80)
def test_the_accuracy_equals_that_of_the_estimates_of_the_kernel(runs: list[tuple], data: st.DataObject) -> None:  # type: ignore[type-arg]
    histories = [
        history(NOON + n * MINUTE, seconds, sorted(reports), ends=ends, stop=stop)
        for n, (seconds, reports, ends, stop) in enumerate(runs)
    ]
    log = numbered(sorted((event for one in histories for event in one), key=lambda event: event.at))
    cut = data.draw(st.integers(0, len(log)))

    kept = from_checkpoint(to_checkpoint(counted(log[:cut])), len(log))
    fold(kept, log[cut:])

    job = kept.etas.jobs.get("job")
    told = (
        {name: [one.inside, one.early, one.late] for name, one in (("start", job.start), ("halfway", job.halfway))}
        if job is not None
        else {"start": [0, 0, 0], "halfway": [0, 0, 0]}
    )
    assert told == recount(log)
    assert kept == counted(log)


def test_runs_that_repeat_themselves_end_inside_and_others_do_not() -> None:
    steady = [history(NOON + n * 10 * MINUTE, 60 + n % 5, [55.0]) for n in range(23)]
    slow = history(NOON + 400 * MINUTE, 300, [80.0])
    log = numbered([event for one in (*steady, slow) for event in one])

    accuracy = job_statistics(counted(log), "job").eta_accuracy

    assert accuracy is not None
    # Three runs come first, of which nothing is known; the next two are longer than each of them, as the slow one is.
    assert (accuracy.start.runs, accuracy.start.inside, accuracy.start.late) == (21, 18, 3)
    assert accuracy.halfway.runs == 24  # that needs no past
    assert accuracy.start.mean_error is not None


async def test_a_late_installation_counts_the_past_and_it_is_verified() -> None:
    log = numbered([event for n in range(6) for event in history(NOON + n * MINUTE, 10 + n, [50.0])])
    statistics = counted(log)
    body = msgspec.msgpack.decode(zlib.decompress(to_checkpoint(statistics).view or b""), type=tuple[int, bytes])[1]
    saved = msgspec.msgpack.decode(body)
    del saved["etas"]
    view = zlib.compress(msgspec.msgpack.encode((5, msgspec.msgpack.encode(saved))))

    upgraded = from_checkpoint(Checkpoint(statistics.position, view), len(log))
    fold(upgraded, log)

    assert upgraded == statistics
    async with MemoryStore() as store:
        kept = counted(await append(store, *(history(NOON + n * MINUTE, 10 + n, [50.0]) for n in range(6))))
        kept.etas.jobs["job"].start.late += 1
        await store.save_checkpoint(CHECKPOINT, to_checkpoint(kept))
        assert [one.what for one in (await verify(store, "UTC")).differences] == ["estimates of the time left"]
