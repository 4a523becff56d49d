"""The sockets that pymongo leaves: they are released between tests, so that no later test sees them.

pymongo 4.20 does not close the socket, or the transport, of an attempt to connect that is cancelled, as many are in an
outage. A conftest whose tests use MongoDB takes over the hooks, which are called for the tests of all folders:

    pytest_collection_modifyitems, pytest_runtest_protocol, pytest_collection_finish = hooks_for(Path(__file__).parent)
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest


def hooks_for(folder: Path) -> tuple[Callable[..., Any], ...]:
    """Return the hooks for the tests in a folder."""

    def modify(items: list[pytest.Item]) -> None:
        for item in items:
            if item.path.parent == folder:
                for left in ("<socket", "transport"):
                    item.add_marker(pytest.mark.filterwarnings(f"ignore:unclosed {left}:ResourceWarning"))

    @pytest.hookimpl(wrapper=True)
    def release(item: pytest.Item) -> Generator[None, object, object]:
        done = yield
        if item.path.parent == folder:
            gc.collect()  # after the teardown, when pytest releases the fixtures
        return done

    def freeze() -> None:
        gc.freeze()  # what is imported by now need not be looked at again and again

    return modify, release, freeze
