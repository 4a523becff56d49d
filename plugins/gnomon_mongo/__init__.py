"""The MongoDB store: the log in a database that other programs can read, and a spool on disk for outages.

    [plugins.mongo]
    uri = { env = "MONGODB_URI" }
    database = "scheduler"
    retention = "90d"

Requires the extra `mongo`. docs/how-to/mongodb.md describes how to run it and what happens in an outage.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon_mongo.plugin import MongoPlugin
    from gnomon_mongo.store import MongoStore
    from gnomon_shared_log.writing.spool_limits import SpoolLimits

__all__ = ["MongoPlugin", "MongoStore", "SpoolLimits"]

_HOMES = {
    "MongoPlugin": "gnomon_mongo.plugin",
    "MongoStore": "gnomon_mongo.store",
    "SpoolLimits": "gnomon_shared_log.writing.spool_limits",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `gnomon --help` imports the command and must not need the driver.
    if name not in _HOMES:
        raise AttributeError(f"module 'gnomon_mongo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
