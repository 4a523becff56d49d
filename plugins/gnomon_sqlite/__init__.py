"""The embedded store: one durable SQLite file, with no server to install or run.

    [plugins.sqlite]
    path = "gnomon.db"
    retention = "90d"

The file is a plain SQLite database. Any tool may read it, also beside a running kernel; only Gnomon may write it.
"""

from gnomon_sqlite.plugin import SqlitePlugin
from gnomon_sqlite.store import SqliteStore

__all__ = ["SqlitePlugin", "SqliteStore"]
