"""The sentences of explanations, in English, by the codes of their statements; the dashboard has other languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Final

from gnomon.domain.statement import Statement, Wording, state
from gnomon.explanations import Explanation
from gnomon.text import length, moment

TEMPLATES: Final[Mapping[str, str]] = {
    # When a job is due, and what its schedule is.
    "was_due": "{job} was due at {due_at}.",
    "is_due": "{job} is due at {due_at}.",
    "last_fire": "The last fire of {job} was due at {due_at}.",
    "no_fire_yet": "{job} has not had a fire yet.",
    "next_fire_was": "The next fire was due at {due_at}.",
    "next_fire_is": "The next fire is due at {due_at}.",
    "none_follows": "No fire follows: its schedule, {schedule}, has ended.",
    "schedule_over": "No fire follows: the schedule has ended.",
    "fire_of_day": "{due_at}:",
    "more_fires": "{count} more fires on that day; ask about one by its time.",
    "no_fire_on": "no fire on {day}",
    "no_fire_at": "no fire at {asked_at}",
    "no_fire_at_wall": "no fire at {wall}",
    "log_has": "The log has {what}. {schedule}",
    "job_has": "{job} has {what}. {schedule}",
    "fires_unknown": "Its fires cannot be computed: {problem}.",
    "runs_after": "The job has no schedule: it runs after {jobs}.",
    "only_triggered": "The job has no schedule: it runs only when it is triggered.",
    "schedule_is": "The schedule is: {schedule}.",
    "fire_before": "The fire before was at {due_at} ({fate}).",
    "fire_after_was": "The fire after was due at {due_at}.",
    "fire_after_is": "The fire after is due at {due_at}.",
    "removed_without": "{job} was removed at {removed_at} by {who}, so it had no fire.",
    "removed_for_good": "{job} was removed at {removed_at} by {who}, so no fire follows.",
    "added": "{job} was added at {added_at} by {who}, and had no fires before.",
    "added_again": "{job} was added again at {added_at} by {who}, and had no fires before.",
    "due_before_added": "{job} was due at {due_at}, but that was added at {added_at}.",
    "changed_since": "This was the schedule until {until_at}, when it was changed by {who}.",
    "counted_from": "Its fires are counted from {anchor_at}.",
    "paused_since": "The job has been paused since {since_at} by {who}.",
    "who": "{actor}[ ({why})]",
    "someone": "someone[ ({why})]",
    # Clocks.
    "clock_behind": "The clock of this machine is {behind_s} behind the newest event of the log, which is from "
    "{newest_at}: the job may not fire until it has caught up. Set the clock, or wait.",
    "note": "Note that {change}.",
    "clocks_forward": "on {day} the clocks of {zone} go forward from {first} to {then} ({before} becomes {after})",
    "clocks_back": "on {day} the clocks of {zone} go back from {first} to {then} ({before} becomes {after})",
    "never_shown": "The clocks never show {wall} on that day: {change}.",
    "twice": "{wall} occurs twice on that day: {change}.",
    "twice_first": "{wall} occurs twice, as {change}. This is the first time, and the schedule {rule}.",
    "twice_second": "{wall} occurs twice, as {change}. This is the second time, and the schedule {rule}.",
    "in_first_pass": "fires in the first pass only",
    "in_both_passes": "fires in both passes",
    "fixed_first_pass": "The schedule has fixed times of the day, so it fires in the first pass only.",
    "fixed_in_gap": "The schedule has fixed times of the day: those that the clocks skip fire once, together, at the "
    "first instant after the gap, {first_at}.",
    "gap_here": "Fixed times of the day that the clocks skip fire at the first instant after the gap: this one.",
    "elapsed_in_gap": "The schedule follows elapsed time, so it does not fire at times that the clocks skip.",
    "future_fire_interval": "The log has a fire in the future, {newest_at}: the clock was set back since, or was wrong "
    "then. Interval jobs continue from that fire.",
    "future_fire": "The log has a fire in the future, {newest_at}: the clock was set back since, or was wrong then. "
    "The job does not fire until the clock passes that time.",
    # How a run began and ended.
    "retried": "It was retried: attempt {attempt} is run {run}.",
    "ran_at_once": "It ran at once: it started at {started_at} (run {run}).",
    "ran_on_time": "It ran on time: it started at {started_at} (run {run}).",
    "ran_after": "It started at {started_at} (run {run}), after run {other} of job {job}, which succeeded at "
    "{ended_at}.",
    "ran_after_trigger": "It ran {late_s} after it was triggered: it started at {started_at} (run {run}).",
    "ran_late": "It ran late, by {late_s}: it started at {started_at} (run {run}).",
    "accepted": "It was accepted at {accepted_at} and has not started yet (run {run}).",
    "succeeded": "It succeeded[ after {took_s}].",
    "run_failed": "It failed[ after {took_s}] ({reason}): {error}.",
    "last_attempt": "It was not tried again: that was the last of its {attempts} attempts.",
    "no_retries": "It was not tried again: the job has no retries.",
    "snoozed": "It snoozed[ after {took_s}] until {until_at}[: {why}]. Run {next} takes its place.",
    "cancelled": "It was cancelled[ after {took_s}][ by {actor}][: {why}].",
    "cancelled_before": "It was cancelled before it started[ by {actor}][: {why}].",
    "running": "It is still running.",
    "stopping": "It is still running; it was asked to stop[ by {actor}][: {why}], and continues.",
    "late_result": "Its body went on and reported '{result}' at {reported_at}: that does not count.",
    # Why it was late, or did not run.
    "the_job": "The job",
    "job_named": "Job {job}",
    "subject_paused": "{subject} was paused when it was due, {period}.",
    "held_when_due": "All fires were held when it was due, {period}.",
    "from_to": "from {since_at} to {until_at} by {who}",
    "since": "since {since_at} by {who}",
    "no_kernel_when_due": "No kernel was running when it was due: {silence}.",
    "no_kernel_for_a_time": "No kernel was running for a time: {silence}.",
    "no_kernel": "No kernel was running: {silence}.",
    "stopped": "the kernel was stopped at {since_at} ({stopped})",
    "ended_without_stop": "the kernel ended without a stop, and its last event is from {since_at}",
    "next_started": "{before}; the next one started at {until_at} on {node}",
    "silent_since": "nothing was written to the log since {since_at}",
    "silent_always": "nothing was written to the log since the beginning",
    "silent_between": "nothing was written to the log from {since_at} to {until_at}",
    "silent_until": "nothing was written to the log from the beginning to {until_at}",
    "blocked_loop": "The kernel did not process it until {decided_at}: its event loop was blocked for {blocked_s}. "
    "{behind}",
    "held_up": "The kernel did not process it until {decided_at}: {detail}.",
    "clock_jump": "The clock went from {from_at} to {to_at} at once: it was set forward, or the machine was suspended.",
    "unprocessed": "The kernel did not process it until {decided_at}. The log does not say why: it has neither a pause "
    "of its process nor a blocked event loop.",
    "follows_later": "{subject} follows job {job}, which was due {later_s} later by its jitter, at {due_at}.",
    "follows": "{subject} follows job {job}, which was due then too.",
    "logged_since": "The log has that fire since {since_at}.",
    "run_missed": "It did not run: it was missed ({reason}), recorded at {recorded_at}.",
    "guard_refused": "A guard refused it: {detail}.",
    "kernel_says": "The kernel says: {detail}.",
    "one_of_range": "It is one of {count} fires from {first_at} to {last_at} that were missed together[ (catch_up = "
    "'{catch_up}')].",
    "job_paused": "The job was paused, {period}.",
    "all_held": "All fires were held, {period}.",
    # What is to come.
    "due_in": "It is due in {left_s}.",
    "skipped": "It will not run: {actor} has skipped it[ ({why})].",
    "skipped_by_operator": "It will not run: an operator has skipped it[ ({why})].",
    "is_paused": "The job is paused, {period}",
    "is_held": "All fires are held, {period}",
    "both_facts": "{first}. {then}",
    "resumed": "the job is resumed",
    "released": "the hold is released",
    "both_ends": "{first} and {then}",
    "unless": "{held}: unless {free}, it will not run.",
    "held_back": "It has not run. {held}: it is held back until {free}.",
    "undecided": "It has not run: no kernel has decided it yet, and {sign}. Is a kernel running?",
    "undecided_stopped": "It has not run: no kernel has decided it yet, and {sign}.",
    "last_event": "the last event in the log is from {last_at}",
    "log_empty": "the log is empty",
    "pruned": "The log no longer has its outcome: events before {pruned_at} were pruned.",
    "no_outcome": "The log has no outcome for it, but has one for a later fire: see `gnomon audit`.",
    # What it waits for.
    "waits_snoozed": "It waits until {until_at}, because the run before it was snoozed.",
    "waits_retry": "It waits until {until_at}, as its retry policy says.",
    "waits_for": "It waits for {what}.",
    "and_for": "{first}, and for {then}",
    "dep_paused": "job {job}, which is paused",
    "dep_undecided": "job {job}, which has not decided about that time yet",
    "dep_running": "run {run} of job {job}[ (attempt {attempt})], which started at {started_at} and is still running",
    "dep_waits": "run {run} of job {job}[ (attempt {attempt})], which waits itself[ until {until_at}]",
    "dep_ended": "run {run} of job {job}[ (attempt {attempt})], which has ended: {fate}",
    "group_slot": "It waits for a slot of group {group}: {taken} of {limit} taken by {runs}[ and {more} more].",
    "run_of_job": "run {run} of job {job}",
    "and_run": "{first}, {then}",
    "group_rate": "It waits for the rate of group {group}: {rate} have been used.",
    "waits_slot": "It waits for a slot, or for a kernel to start it.",
    "behind_running": "It is waiting for run {run} of this job, which started at {started_at} and is still running.",
    "behind_handed": "It is waiting for run {run} of this job, which was handed over to {queue} at {handed_at} and "
    "which no worker has begun.",
    "waited_detail": "It waited {waited_s}: {detail}.",
    "waited_rate": "It waited {waited_s} for the rate of group {group}: {rate}.",
    "waited_resumed": "It waited {waited_s}; then a kernel that had just started resumed it.",
    "waited_for": "It waited {waited_s} for {what}. {behind}",
    "kernel_slot": "a slot: max_running runs were active",
    "other_run": "another run of the job to end",
    "slot_of_group": "a slot of group {group}",
    "behind_gone": "That run is no longer in the log.",
    "behind_missed": "That was run {run}[ of job {job}], which was missed at {ended_at}.",
    "behind_ended": "That was run {run}[ of job {job}], which started at {started_at}, and ended at {ended_at} "
    "({fate}).",
    "behind_active": "That was run {run}[ of job {job}], which started at {started_at} and is still {fate}.",
    # Queues elsewhere.
    "queue_named": "queue {queue}",
    "runner_named": "runner {runner}",
    "handed_waiting": "It was handed over to {queue} at {handed_at}, and no worker has begun it.",
    "handed_unbegun": "It was handed over to {queue} at {handed_at}, and no worker began it.",
    "handed_begun": "It was handed over to {queue} at {handed_at}, and {worker} began it at {began_at}, {waited_s} "
    "later[, with {code}].",
    "warned": "{text}.",
    "queue_still": "The queue has stood still since {since_at}: {why}.",
    "queue_was_still": "The queue stood still from {since_at} to {until_at}: {why}.",
    # Runs that no fire made.
    "imported": "Run {run} was recorded from {source}: it was due at {due_at}, and {end}. No kernel decided it, so the "
    "log knows no more about it.",
    "it_succeeded": "it succeeded[ after {took_s}]",
    "it_failed": "it failed[ after {took_s}] ({reason}): {error}",
    "it_was_missed": "it was missed[: {detail}]",
    "it_was_cancelled": "it was cancelled[ after {took_s}]",
    "it_is_running": "it is running",
    "it_has_not_started": "it has not started",
    "more_imported": "{count} more runs were imported; ask about one by its time.",
    "by_backfill": "Run {run} was made by a backfill[ by {actor}], for the fire of {due_at}.",
    "at_start": "Run {run} was made at the start of a kernel, at {due_at}.",
    "triggered": "Run {run} of {job} was triggered at {due_at}[ by {by}].",
    "triggered_forced": "Run {run} of {job} was triggered at {due_at}[ by {by}], with guards skipped.",
    "pruned_run": "run {run}, which was pruned",
    "triggered_by_run": "Run {run} was triggered at {due_at} by {by}. {end}",
    "only_failed": "It failed[ after {took_s}] ({reason}).",
    "only_running": "It is running.",
    "only_missed": "It was missed ({reason}).",
    "only_cancelled": "It was cancelled.",
    "only_waits": "It waits[; it may start from {from_at} on].",
    "only_snoozed": "It snoozed[ after {took_s}] until {until_at}, and run {next} takes its place.",
    "more_triggered": "{count} more runs were triggered by other runs; ask about one by its time.",
}


def who(actor: str | None, reason: str | None) -> Statement:
    """Return who did something, and why."""
    return state("who", actor=actor, why=reason or None) if actor else state("someone", why=reason or None)


def chain(code: str, parts: Sequence[Statement]) -> Statement:
    """Return one statement of several: the first, and the others after it."""
    first, *others = parts
    return state(code, first=first, then=chain(code, others)) if others else first


def in_words(found: Explanation, zone: tzinfo) -> Explanation:
    """Return an explanation with the sentences of its statements, with times in a zone."""
    words = Wording(TEMPLATES, seconds=length, time=lambda at: moment(at, zone, milliseconds=True))
    found.sentences = [words(statement) for statement in found.statements]
    for fire in found.fires:
        fire.sentences = [words(statement) for statement in fire.statements]
    return found
