"""Functions whose annotations name what only type checkers import: Python 3.14 evaluates them when they are read."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, ForwardRef

import pytest

from gnomon import Job, signatures
from gnomon.jobs.body import make_body
from gnomon.scheduling import trigger_factory
from gnomon.testing import run_job

IS_DEFERRED = sys.version_info >= (3, 14)
SOURCE = """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gnomon import Context
    from rows import Row

def body(count: int, rows: list[Row] | None = None, *, ctx: Context, odd: 1 / 0 = None):
    ctx.progress(50)
    return count + 1

class Factory:
    def __init__(self, row: Row, every: int) -> None: ...
"""


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what a program defines whose annotations are evaluated when they are read, as since Python 3.14."""
    head = "" if IS_DEFERRED else "from __future__ import annotations\n"
    defined: dict[str, Any] = {"__name__": "program"}
    exec(compile(head + SOURCE, "program", "exec", dont_inherit=True), defined)  # noqa: S102 - the source is above
    if not IS_DEFERRED:
        of_text = inspect.signature

        def signature(func: Callable[..., Any], *, annotation_format: str = "value") -> inspect.Signature:
            found = of_text(func)
            if not (isinstance(func, FunctionType | type) and getattr(func, "__module__", "") == "program"):
                return found
            parameters = [
                one.replace(annotation=evaluated(one.annotation, annotation_format))
                for one in found.parameters.values()
            ]
            return found.replace(parameters=parameters)

        def evaluated(text: Any, annotation_format: str) -> Any:
            if annotation_format == "string" or not isinstance(text, str):
                return text
            try:
                return eval(text, defined)  # noqa: S307 - as Python 3.14 does
            except NameError:
                if annotation_format == "value":
                    raise
                return ForwardRef(text)

        monkeypatch.setattr(inspect, "signature", signature)
        formats = ({"annotation_format": "forwardref"}, {"annotation_format": "string"})
        monkeypatch.setattr(signatures, "_FORMATS", formats)
    return defined


async def test_a_body_runs_whose_annotations_name_what_only_type_checkers_import(program: dict[str, Any]) -> None:
    with pytest.raises(NameError):
        inspect.signature(program["body"])

    read = make_body(Job(id="body", func=program["body"], kwargs={"count": 1}))
    run = await run_job(program["body"], count=1)

    assert read.context_parameter == "ctx"
    assert (run.status, run.return_value) == ("success", 2), run.error_message


def test_only_what_cannot_be_evaluated_is_text(program: dict[str, Any]) -> None:
    found = signatures.signature_of(program["Factory"]).parameters

    assert getattr(found["row"].annotation, "__forward_arg__", None) == "Row"
    assert found["every"].annotation is int


def test_a_trigger_of_a_plugin_may_have_such_annotations_too(program: dict[str, Any]) -> None:
    assert list(trigger_factory._parameters(program["Factory"])) == ["row", "every"]
