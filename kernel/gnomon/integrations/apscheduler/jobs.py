"""Translates a job of APScheduler, as its job stores pickle it, to the keys of a job of Gnomon."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gnomon.integrations.apscheduler.pickled_state import ForeignObject, foreign_objects
from gnomon.integrations.apscheduler.triggers import schedule_keys
from gnomon.integrations.job_import import JobImport, NotTakenError
from gnomon.text import moment

DEFAULT_EXECUTOR = "default"
SHORT_GRACE_S = 60


def policy_keys(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys for what happens to late fires and to fires during a run.

    A new run is skipped while `max_instances` are running, as in APScheduler.
    """
    keys: dict[str, Any] = {} if state["coalesce"] else {"catch_up": "all"}
    if state["misfire_grace_time"] is not None:
        keys["grace"] = state["misfire_grace_time"]
    if state["max_instances"] != 1:
        keys["max_instances"] = state["max_instances"]
    return keys


def job_keys(state: Mapping[str, Any], timezone: str, now: datetime) -> dict[str, Any]:
    """Return the keys of a job, without its id; NotTakenError with the reason for which it cannot be taken."""
    func = _function(state)
    for name in ("args", "kwargs"):
        for place, found in foreign_objects(state[name]):
            raise NotTakenError(_argument_reason(func, f"{name}{place}", found.class_name))
    keys: dict[str, Any] = {"func": func, **schedule_keys(state["trigger"])}
    if "cron" in keys and keys.get("timezone") == timezone:
        del keys["timezone"]
    if (at := keys.get("at")) is not None and at <= now:
        raise NotTakenError(f"its only run was due at {moment(at, UTC)}, which is over")
    if state["name"] not in {state["id"], func.rpartition(":")[2].rpartition(".")[2], func.rpartition(":")[2]}:
        keys["name"] = state["name"]
    if state["args"]:
        keys["args"] = list(state["args"])
    if state["kwargs"]:
        keys["kwargs"] = dict(state["kwargs"])
    keys |= policy_keys(state)
    if state["next_run_time"] is None:
        keys["paused"] = True
    return keys


def note_differences(found: JobImport, job_id: str, state: Mapping[str, Any], now: datetime) -> None:
    """Add to a report what is different for a job that was taken."""
    if job_id != state["id"]:
        found.note(f"its id was {state['id']!r}, which is not valid here or is taken", job_id)
    if state["executor"] != DEFAULT_EXECUTOR:
        found.note(
            f'it ran in the executor {state["executor"]!r}: if that is a pool of processes, set runner = "process"',
            job_id,
        )
    due = state["next_run_time"]
    if due is not None and due <= now:
        found.note(f"its run of {moment(due, UTC)} is overdue and was not taken: trigger it if it is needed", job_id)
    grace = state["misfire_grace_time"]
    if grace is not None and grace < SHORT_GRACE_S:
        found.note("a `grace` under a minute, as misfire_grace_time had it, drops fires that a restart delays")


def _function(state: Mapping[str, Any]) -> str:
    func = state["func"]
    if not func:
        raise NotTakenError("its function has no importable name, as lambdas and nested functions have none")
    if not isinstance(func, str):
        raise NotTakenError(f"its function is {func!r}, expected a name such as 'package.module:function'")
    first = next(iter(state["args"]), None)
    if "." in func.partition(":")[2] and isinstance(first, ForeignObject):
        raise NotTakenError(
            f"its function {func} is a method of an object of the class {first.class_name}, which is not in the log: "
            "write a function that makes the object and calls the method"
        )
    return func


def _argument_reason(func: str, place: str, name: str) -> str:
    return (
        f"{place} of {func} is an object of the class {name}, and arguments must be JSON: pass the id of the object, "
        "and load it in the function"
    )
