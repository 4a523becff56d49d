"""Tools for the tests of plugin authors and job authors.

Names are imported on first use. Contract classes are in `gnomon.testing.contracts`, ready-made histories in
`gnomon.testing.histories`, and fixtures in `gnomon.testing.pytest_plugin`, which pytest discovers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon.testing.clock import VirtualClock
    from gnomon.testing.kernels import EventList, RecordingStore, make_job, make_kernel, run_job
    from gnomon.testing.log_checks import check_log, check_store

_HOMES = {
    "VirtualClock": "clock",
    "EventList": "kernels",
    "RecordingStore": "kernels",
    "make_job": "kernels",
    "make_kernel": "kernels",
    "run_job": "kernels",
    "check_log": "log_checks",
    "check_store": "log_checks",
}

__all__ = [
    "EventList",
    "RecordingStore",
    "VirtualClock",
    "check_log",
    "check_store",
    "make_job",
    "make_kernel",
    "run_job",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gnomon.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gnomon.testing.{_HOMES[name]}"), name)
