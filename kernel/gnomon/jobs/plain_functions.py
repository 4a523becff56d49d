"""Jobs of plain functions: `add_job(sync, cron="0 18 * * *")` takes a function, with the keys of a job by name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnomon.errors import JobError
from gnomon.jobs.callables import reference
from gnomon.jobs.changes import with_keys, without_removed
from gnomon.jobs.definition import convert_job
from gnomon.jobs.job import Job
from gnomon.safe_text import is_instance, safe_repr
from gnomon.text import visible

SHOWN = 200
"""Characters of an id that a message repeats."""


def job_of(item: Any, keys: Mapping[str, Any]) -> Job:
    """Return the Job of an item with some keys: a Job, a function with or without @job, or "package.module:function".

    `keys` replace those of a Job and of @job. The id of a plain function defaults to "module.name", its description to
    its docstring. JobError lists every key that is wrong.
    """
    declared = item if is_instance(item, Job) else _declared(item)
    if "func" in keys:
        raise JobError(f"func is given twice: {safe_repr(item)} and {safe_repr(keys['func'])}; pass one of them")
    if is_instance(declared, Job):
        return with_keys(declared, keys) if keys else declared
    if not (callable(item) or is_instance(item, str)):
        raise JobError(
            f'expected a Job, a function or "package.module:function", with the keys of the job by name; got '
            f"{safe_repr(item)}"
        )
    # Not the docstring of a text or of an instance: that is the one of its class.
    description = inspect.getdoc(item) if inspect.isroutine(item) or inspect.isclass(item) else None
    own: dict[str, Any] = {"func": item, "description": description or ""}
    given = without_removed(keys)
    if "id" not in given:
        own["id"] = _default_id(item)
    named = given.get("id")
    place = f"job {safe_repr(named, SHOWN)}" if type(named) is str else f"the job of {visible(reference(item))}"
    return convert_job({**own, **given}, place)


def _declared(item: Any) -> Any:
    # Statically, since an object of the user may raise anything when its attributes are read.
    return inspect.getattr_static(item, "__gnomon_job__", None) if callable(item) else None


def _default_id(item: Any) -> str:
    """Return "module.name"; for a function of the program that was started, the name of its file is the module."""
    module, _, path = reference(item).partition(":")
    name = path.rpartition(".")[2]
    if not name.isidentifier() or not (isinstance(item, str) or inspect.isroutine(item) or inspect.isclass(item)):
        raise JobError(f'{visible(reference(item))} has no name from which an id could be made: pass id="..."')
    if module == "__main__":
        module = Path(getattr(sys.modules["__main__"], "__file__", None) or "main").stem
    return f"{module}.{name}".lstrip("._")
