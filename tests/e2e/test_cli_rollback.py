"""A log that has lost acknowledged events is refused until an operator accepts that."""

from __future__ import annotations

import getpass
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

JSON_LOG = ("--log-format", "json")


def test_a_restored_copy_is_refused_until_the_rollback_is_accepted(
    start: Callable[..., Any], gnomon: Callable[..., Any], configure: Callable[..., Path], folder: Path
) -> None:
    configure(tick='every = "100ms"')

    def live(*options: str) -> None:
        kernel = start("run", *JSON_LOG, *options)
        kernel.wait_for("succeeded")
        kernel.send(signal.SIGTERM)
        assert kernel.ends() == 0, kernel.errors

    live()
    shutil.copy(folder / "gnomon.db", folder / "copy.db")
    live()
    shutil.copy(folder / "copy.db", folder / "gnomon.db")

    refused = start("run", *JSON_LOG)

    assert refused.ends() == 2, refused.errors
    assert "--accept-rollback" in refused.errors
    live("--accept-rollback")
    live()
    (action,) = json.loads(gnomon("history", "--json").stdout)["items"]
    assert (action["action"], action["actor"], action["job_id"]) == ("accept_rollback", getpass.getuser(), "")
    assert action["detail"].startswith("the log had lost events ")
    assert "accept_rollback" in gnomon("history").stdout
